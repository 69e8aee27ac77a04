// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ICareRegistry} from "../../interfaces/ICareRegistry.sol";
import {IRecordAccess} from "../../interfaces/IRecordAccess.sol";
import {Signatures} from "../shared/Signatures.sol";
import {Emergencies} from "./Emergencies.sol";
import {GrantSlot, granted, revoked} from "./GrantSlot.sol";

/// @title Who may read which records, said by the patient and by nobody else
/// @notice See IRecordAccess for what each action promises. Guardians has the account of a patient, its guardians and
/// recovery, Emergencies the break-glass; here are grants, the custodians' anchors and log heads, and who may read.
contract RecordAccess is Emergencies {
    // ------------------------------------------------------------------ constants

    bytes32 private constant GRANT_TYPEHASH = keccak256(
        "Grant(address patient,bytes32 blinded,bytes32 terms,uint40 epoch,uint40 version,uint48 deadline)"
    );
    bytes32 private constant REVOKE_TYPEHASH = keccak256(
        "Revoke(address patient,bytes32 blinded,uint40 version,uint48 deadline)"
    );
    bytes32 private constant REVOKE_ALL_TYPEHASH = keccak256(
        "RevokeAll(address patient,uint40 epoch,uint48 deadline)"
    );

    bytes32 private constant BUNDLE_TYPEHASH = keccak256(
        "GrantBundle(address patient,BundledGrant[] grants,uint40 epoch,uint48 deadline)BundledGrant(bytes32 blinded,bytes32 terms,uint40 version)"
    );
    bytes32 private constant BUNDLED_TYPEHASH = keccak256(
        "BundledGrant(bytes32 blinded,bytes32 terms,uint40 version)"
    );
    bytes32 private constant GRANT_FOR_TYPEHASH = keccak256(
        "GrantFor(address patient,address author,bytes32 blinded,bytes32 terms,uint40 epoch,uint40 version,uint48 deadline)"
    );
    bytes32 private constant REVOKE_FOR_TYPEHASH = keccak256(
        "RevokeFor(address patient,address author,bytes32 blinded,uint40 version,uint48 deadline)"
    );

    uint8 private constant PROVIDER = 1;

    // ------------------------------------------------------------------ storage

    /// @dev Each grant, by keccak256(patient, blinded), another author's by keccak256(patient, author, blinded); changes
    /// with every message about it, never zeroed.
    mapping(bytes32 key => GrantSlot) private _grants;

    /// @dev Custodian (160 bits) and unix time (the 48 above) of each record's salted hash; set once.
    mapping(bytes32 saltedHash => uint256) private _anchors;

    /// @inheritdoc IRecordAccess
    mapping(address custodian => bytes32) public logHeads;

    // ------------------------------------------------------------------ constructor

    /// @param registry_ where the organisations are accredited
    constructor(ICareRegistry registry_) EIP712("Liggare Records", "1") Emergencies(registry_) {}

    // ------------------------------------------------------------------ grants

    /// @inheritdoc IRecordAccess
    function grant(
        address patient,
        bytes32 blinded,
        bytes32 terms,
        uint40 epoch,
        uint40 version,
        uint48 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        bytes32 id = _id(GRANT_TYPEHASH, ARGUMENTS, 6);
        if (!Signatures.isKeySignature(patient, id, v, r, s)) revert RecordsInvalidSignature(patient);
        _checkDeadline(deadline);
        _grant(id, patient, blinded, terms, epoch, version);
    }

    /// @inheritdoc IRecordAccess
    function grant(
        address patient,
        bytes32 blinded,
        bytes32 terms,
        uint40 epoch,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _check(GRANT_TYPEHASH, 6, patient, deadline, signature);
        _grant(id, patient, blinded, terms, epoch, version);
    }

    /// @inheritdoc IRecordAccess
    function revoke(
        address patient,
        bytes32 blinded,
        uint40 version,
        uint48 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        bytes32 id = _id(REVOKE_TYPEHASH, ARGUMENTS, 4);
        if (!Signatures.isKeySignature(patient, id, v, r, s)) revert RecordsInvalidSignature(patient);
        _checkDeadline(deadline);
        _revoke(id, patient, blinded, version);
    }

    /// @inheritdoc IRecordAccess
    function revoke(
        address patient,
        bytes32 blinded,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _check(REVOKE_TYPEHASH, 4, patient, deadline, signature);
        _revoke(id, patient, blinded, version);
    }

    /// @inheritdoc IRecordAccess
    function revokeAll(
        address patient,
        uint40 epoch,
        uint48 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        bytes32 id = _id(REVOKE_ALL_TYPEHASH, ARGUMENTS, 3);
        address actor = actorOf(patient);
        if (!Signatures.isKeySignature(actor, id, v, r, s)) revert RecordsInvalidSignature(actor);
        _checkDeadline(deadline);
        _revokeAll(id, patient, epoch);
    }

    /// @inheritdoc IRecordAccess
    function revokeAll(address patient, uint40 epoch, uint48 deadline, bytes calldata signature) external {
        bytes32 id = _check(REVOKE_ALL_TYPEHASH, 3, actorOf(patient), deadline, signature);
        _revokeAll(id, patient, epoch);
    }

    /// @inheritdoc IRecordAccess
    function grantBatch(SignedGrant[] calldata items) external returns (bytes4[] memory reasons) {
        reasons = new bytes4[](items.length);
        for (uint256 i = 0; i < items.length; ++i) {
            SignedGrant calldata item = items[i];
            bytes32 id = item.terms == 0 ? _revokeId(item) : _grantId(item);
            bytes32 key = _key(item.patient, item.blinded);
            bytes4 reason = _whyNotCarried(id, key, item);
            reasons[i] = reason;
            if (reason != 0) emit Skipped(i, id, reason);
            else if (item.terms == 0) _setRevoked(id, key, item.patient, item.blinded, item.version);
            else
                _setGranted(
                    id,
                    key,
                    item.patient,
                    item.blinded,
                    granted(item.terms, item.epoch, item.version)
                );
        }
    }

    /// @inheritdoc IRecordAccess
    function grantBundle(
        address patient,
        BundledGrant[] calldata items,
        uint40 epoch,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _bundleId(patient, items, epoch, deadline);
        if (!Signatures.isSignature(patient, id, signature)) revert RecordsInvalidSignature(patient);
        _checkDeadline(deadline);
        for (uint256 i = 0; i < items.length; ++i) {
            BundledGrant calldata item = items[i];
            if (item.terms == 0) _revoke(id, patient, item.blinded, item.version);
            else _grant(id, patient, item.blinded, item.terms, epoch, item.version);
        }
    }

    /// @inheritdoc IRecordAccess
    function grantFor(
        address patient,
        address author,
        bytes32 blinded,
        bytes32 terms,
        uint40 epoch,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _check(GRANT_FOR_TYPEHASH, 7, author, deadline, signature);
        // the patient's own key has the short way, under keys of its own
        if (author == patient) revert RecordsMayNotAct(author, GRANT);
        uint40 expected = epochOf(patient, author);
        if (epoch != expected) revert RecordsWrongEpoch(epoch, expected);
        bytes32 key = _keyBy(patient, author, blinded);
        _checkVersion(_grants[key].version(), version);
        GrantSlot slot = granted(terms, epoch, version);
        _grants[key] = slot;
        emit GrantedFor(id, patient, author, blinded, bytes32(GrantSlot.unwrap(slot)));
    }

    /// @inheritdoc IRecordAccess
    function revokeFor(
        address patient,
        address author,
        bytes32 blinded,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _id(REVOKE_FOR_TYPEHASH, ARGUMENTS, 5);
        if (
            !Signatures.isSignature(author, id, signature) &&
            !Signatures.isSignature(actorOf(patient), id, signature)
        ) revert RecordsInvalidSignature(author);
        _checkDeadline(deadline);
        if (author == patient) revert RecordsMayNotAct(author, GRANT);
        bytes32 key = _keyBy(patient, author, blinded);
        _checkVersion(_grants[key].version(), version);
        _grants[key] = revoked(version);
        emit RevokedFor(id, patient, author, blinded, version);
    }

    // ------------------------------------------------------------------ custodians

    /// @inheritdoc IRecordAccess
    function anchorRecord(bytes32 saltedHash) external {
        (ICareRegistry.Standing standing, uint8 roles, ) = _standingOf(msg.sender);
        if (standing != ICareRegistry.Standing.Good || roles & PROVIDER == 0)
            revert RecordsCallerNotProvider(msg.sender, roles, standing);
        uint256 anchored = _anchors[saltedHash];
        if (anchored != 0) revert RecordsAlreadyAnchored(saltedHash, address(uint160(anchored)));
        _anchors[saltedHash] = (block.timestamp << 160) | uint160(msg.sender);
        emit RecordAnchored(saltedHash, msg.sender);
    }

    /// @inheritdoc IRecordAccess
    function postLogHead(bytes32 predecessor, uint64 size, bytes32 head) external {
        bytes32 last = logHeads[msg.sender];
        if (predecessor != last) revert RecordsLogForked(predecessor, last);
        if (size <= uint64(uint256(last))) revert RecordsLogShrunk(size, uint64(uint256(last)));
        logHeads[msg.sender] = bytes32(bytes24(head)) | bytes32(uint256(size));
        emit LogHeadPosted(msg.sender, predecessor, size, head);
    }

    // ------------------------------------------------------------------ internal

    function _grant(
        bytes32 id,
        address patient,
        bytes32 blinded,
        bytes32 terms,
        uint40 epoch,
        uint40 version
    ) private {
        bytes32 key = _key(patient, blinded);
        _checkVersion(_grants[key].version(), version);
        _setGranted(id, key, patient, blinded, granted(terms, epoch, version));
    }

    function _setGranted(bytes32 id, bytes32 key, address patient, bytes32 blinded, GrantSlot slot) private {
        _grants[key] = slot;
        emit Granted(id, patient, blinded, bytes32(GrantSlot.unwrap(slot)));
    }

    function _revoke(bytes32 id, address patient, bytes32 blinded, uint40 version) private {
        bytes32 key = _key(patient, blinded);
        _checkVersion(_grants[key].version(), version);
        _setRevoked(id, key, patient, blinded, version);
    }

    function _setRevoked(bytes32 id, bytes32 key, address patient, bytes32 blinded, uint40 version) private {
        _grants[key] = revoked(version);
        emit Revoked(id, patient, blinded, version);
    }

    function _revokeAll(bytes32 id, address patient, uint40 epoch) private {
        Account storage account = _accounts[patient];
        if (epoch != account.epoch) revert RecordsWrongEpoch(epoch, account.epoch);
        uint40 next = _unforeseen(id);
        account.epoch = next;
        emit AllRevoked(id, patient, next);
    }

    function _key(address patient, bytes32 blinded) private pure returns (bytes32) {
        return keccak256(abi.encode(patient, blinded));
    }

    /// @dev The selector of the error that `_grant` or `_revoke` alone would meet; 0 for none. No check is made by a call
    /// that could fail for want of gas alone: ecrecover's own failure reverts, and with it the batch.
    function _whyNotCarried(
        bytes32 id,
        bytes32 key,
        SignedGrant calldata item
    ) private view returns (bytes4) {
        (address signer, ECDSA.RecoverError problem, ) = ECDSA.tryRecover(id, item.r, item.vs);
        if (problem != ECDSA.RecoverError.NoError || signer != item.patient)
            return RecordsInvalidSignature.selector;
        if (block.timestamp > item.deadline) return RecordsExpired.selector;
        uint256 last = _grants[key].version();
        return item.version == last + 1 ? bytes4(0) : RecordsWrongVersion.selector;
    }

    /// @dev The members of a Grant stand in the item as they are hashed; those after them are the signature.
    function _grantId(SignedGrant calldata item) private view returns (bytes32) {
        uint256 start;
        assembly ("memory-safe") {
            start := item
        }
        return _id(GRANT_TYPEHASH, start, 6);
    }

    function _revokeId(SignedGrant calldata item) private view returns (bytes32) {
        return
            _hashTypedDataV4(
                keccak256(
                    abi.encode(REVOKE_TYPEHASH, item.patient, item.blinded, item.version, item.deadline)
                )
            );
    }

    function _bundleId(
        address patient,
        BundledGrant[] calldata items,
        uint40 epoch,
        uint48 deadline
    ) private view returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](items.length);
        for (uint256 i = 0; i < items.length; ++i) {
            BundledGrant calldata item = items[i];
            hashes[i] = keccak256(abi.encode(BUNDLED_TYPEHASH, item.blinded, item.terms, item.version));
        }
        bytes32 list = keccak256(abi.encodePacked(hashes));
        return _hashTypedDataV4(keccak256(abi.encode(BUNDLE_TYPEHASH, patient, list, epoch, deadline)));
    }

    /// @dev Keys of 96 bytes beside those of 64: no author but the patient reaches the patient's own grants.
    function _keyBy(address patient, address author, bytes32 blinded) private pure returns (bytes32) {
        return keccak256(abi.encode(patient, author, blinded));
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IRecordAccess
    function mayRead(
        address patient,
        address grantee,
        bytes32 salt,
        Terms calldata terms,
        uint64 category,
        uint32 purpose
    ) external view returns (bool) {
        return whyNot(patient, grantee, salt, terms, category, purpose) == Refusal.Nothing;
    }

    /// @inheritdoc IRecordAccess
    function whyNot(
        address patient,
        address grantee,
        bytes32 salt,
        Terms calldata terms,
        uint64 category,
        uint32 purpose
    ) public view returns (Refusal) {
        return whyNotBy(patient, patient, grantee, salt, terms, category, purpose);
    }

    /// @inheritdoc IRecordAccess
    function whyNotBy(
        address patient,
        address author,
        address grantee,
        bytes32 salt,
        Terms calldata terms,
        uint64 category,
        uint32 purpose
    ) public view returns (Refusal) {
        bytes32 blinded = keccak256(abi.encode(grantee, salt));
        Refusal problem = _whyNotGranted(patient, author, blinded, salt, terms);
        if (problem != Refusal.Nothing) return problem;
        if (category == 0 || category & ~terms.categories != 0) return Refusal.CategoryNotGranted;
        if (purpose == 0 || purpose & ~terms.purposes != 0) return Refusal.PurposeNotGranted;
        return _whyNotEligible(grantee, category, 0);
    }

    function _whyNotGranted(
        address patient,
        address author,
        bytes32 blinded,
        bytes32 salt,
        Terms calldata terms
    ) private view returns (Refusal) {
        (bool isAuthor, uint40 epoch) = _epochOf(patient, author);
        if (!isAuthor) return author == patient ? Refusal.KeyReplaced : Refusal.NotAuthor;
        GrantSlot slot = _grantBy(patient, author, blinded);
        if (slot.version() == 0) return Refusal.NoGrant;
        if (slot.terms() == 0) return Refusal.Revoked;
        if (slot.epoch() != epoch) return Refusal.AllRevoked;
        if (!slot.matches(hashTerms(salt, slot.version(), terms))) return Refusal.OtherTerms;
        if (block.timestamp < terms.notBefore) return Refusal.NotYet;
        if (block.timestamp >= terms.expiry) return Refusal.Expired;
        return Refusal.Nothing;
    }

    function _grantBy(address patient, address author, bytes32 blinded) private view returns (GrantSlot) {
        return _grants[author == patient ? _key(patient, blinded) : _keyBy(patient, author, blinded)];
    }

    /// @inheritdoc IRecordAccess
    function grants(
        address patient,
        bytes32 blinded
    ) external view returns (bytes22 terms, uint40 epoch, uint40 version) {
        return grantsBy(patient, patient, blinded);
    }

    /// @inheritdoc IRecordAccess
    function grantsBy(
        address patient,
        address author,
        bytes32 blinded
    ) public view returns (bytes22 terms, uint40 epoch, uint40 version) {
        GrantSlot slot = _grantBy(patient, author, blinded);
        return (slot.terms(), slot.epoch(), slot.version());
    }

    /// @inheritdoc IRecordAccess
    function anchors(bytes32 saltedHash) external view returns (address custodian, uint48 time) {
        uint256 anchored = _anchors[saltedHash];
        return (address(uint160(anchored)), uint48(anchored >> 160));
    }

    /// @inheritdoc IRecordAccess
    function hashTerms(bytes32 salt, uint40 version, Terms calldata terms) public pure returns (bytes32) {
        return
            keccak256(
                abi.encode(salt, version, terms.categories, terms.purposes, terms.notBefore, terms.expiry)
            );
    }

    /// @inheritdoc IRecordAccess
    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() external view returns (bytes32) {
        return _domainSeparatorV4();
    }
}
