// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ICareRegistry} from "../../interfaces/ICareRegistry.sol";
import {IRecordAccess} from "../../interfaces/IRecordAccess.sol";
import {Signatures} from "../shared/Signatures.sol";
import {GrantSlot, granted, revoked} from "./GrantSlot.sol";

/// @title Who may read which records, said by the patient and by nobody else
/// @notice See IRecordAccess for what each action promises.
contract RecordAccess is IRecordAccess, EIP712 {
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

    uint8 private constant PROVIDER = 1;

    /// @inheritdoc IRecordAccess
    // solhint-disable-next-line immutable-vars-naming
    ICareRegistry public immutable registry;

    // ------------------------------------------------------------------ storage

    /// @dev Each grant, by keccak256(patient, blinded); changes with every message about it, never zeroed.
    mapping(bytes32 key => GrantSlot) private _grants;

    /// @inheritdoc IRecordAccess
    mapping(address patient => uint40) public epochs;

    /// @dev Custodian (160 bits) and unix time (the 48 above) of each record's salted hash; set once.
    mapping(bytes32 saltedHash => uint256) private _anchors;

    /// @inheritdoc IRecordAccess
    mapping(address custodian => bytes32) public logHeads;

    // ------------------------------------------------------------------ constructor

    /// @param registry_ where the organisations are accredited
    constructor(ICareRegistry registry_) EIP712("Liggare Records", "1") {
        registry = registry_;
    }

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
        bytes32 id = _id(GRANT_TYPEHASH, 6);
        if (!Signatures.isKeySignature(patient, id, v, r, s)) revert RecordsInvalidSignature(patient);
        _grant(id, patient, blinded, terms, epoch, version, deadline);
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
        bytes32 id = _id(GRANT_TYPEHASH, 6);
        if (!Signatures.isSignature(patient, id, signature)) revert RecordsInvalidSignature(patient);
        _grant(id, patient, blinded, terms, epoch, version, deadline);
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
        bytes32 id = _id(REVOKE_TYPEHASH, 4);
        if (!Signatures.isKeySignature(patient, id, v, r, s)) revert RecordsInvalidSignature(patient);
        _revoke(id, patient, blinded, version, deadline);
    }

    /// @inheritdoc IRecordAccess
    function revoke(
        address patient,
        bytes32 blinded,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _id(REVOKE_TYPEHASH, 4);
        if (!Signatures.isSignature(patient, id, signature)) revert RecordsInvalidSignature(patient);
        _revoke(id, patient, blinded, version, deadline);
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
        bytes32 id = _id(REVOKE_ALL_TYPEHASH, 3);
        if (!Signatures.isKeySignature(patient, id, v, r, s)) revert RecordsInvalidSignature(patient);
        _revokeAll(id, patient, epoch, deadline);
    }

    /// @inheritdoc IRecordAccess
    function revokeAll(address patient, uint40 epoch, uint48 deadline, bytes calldata signature) external {
        bytes32 id = _id(REVOKE_ALL_TYPEHASH, 3);
        if (!Signatures.isSignature(patient, id, signature)) revert RecordsInvalidSignature(patient);
        _revokeAll(id, patient, epoch, deadline);
    }

    // ------------------------------------------------------------------ custodians

    /// @inheritdoc IRecordAccess
    function anchorRecord(bytes32 saltedHash) external {
        (ICareRegistry.Standing standing, uint8 roles, ) = registry.standingOf(msg.sender);
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
        uint40 version,
        uint48 deadline
    ) private {
        _checkDeadline(deadline);
        bytes32 key = _key(patient, blinded);
        _checkVersion(key, version);
        GrantSlot slot = granted(terms, epoch, version);
        _grants[key] = slot;
        emit Granted(id, patient, blinded, bytes32(GrantSlot.unwrap(slot)));
    }

    function _revoke(bytes32 id, address patient, bytes32 blinded, uint40 version, uint48 deadline) private {
        _checkDeadline(deadline);
        bytes32 key = _key(patient, blinded);
        _checkVersion(key, version);
        _grants[key] = revoked(version);
        emit Revoked(id, patient, blinded, version);
    }

    function _revokeAll(bytes32 id, address patient, uint40 epoch, uint48 deadline) private {
        _checkDeadline(deadline);
        if (epoch != epochs[patient]) revert RecordsWrongEpoch(epoch, epochs[patient]);
        uint40 next = uint40(uint256(keccak256(abi.encode(id, blockhash(block.number - 1)))));
        epochs[patient] = next;
        emit AllRevoked(id, patient, next);
    }

    function _key(address patient, bytes32 blinded) private pure returns (bytes32) {
        return keccak256(abi.encode(patient, blinded));
    }

    function _checkDeadline(uint48 deadline) private view {
        if (block.timestamp > deadline) revert RecordsExpired(deadline, block.timestamp);
    }

    function _checkVersion(bytes32 key, uint40 version) private view {
        // in 256 bits: after the 2^40th message the key takes no more, it does not start again
        uint256 expected = uint256(_grants[key].version()) + 1;
        if (version != expected) revert RecordsWrongVersion(version, expected);
    }

    /// @dev The EIP-712 digest of the message whose members are the first `members` arguments of this call, in order.
    /// They are hashed as they stand in the calldata, which saves 300 gas: the decoder has refused any that is not in
    /// its clean form. Tests pin the digests by another implementation.
    function _id(bytes32 typehash, uint256 members) private view returns (bytes32) {
        bytes32 hash;
        assembly ("memory-safe") {
            let words := mload(0x40) // the free memory, which stays free: nothing of this is kept
            mstore(words, typehash)
            calldatacopy(add(words, 32), 4, mul(members, 32))
            hash := keccak256(words, add(32, mul(members, 32)))
        }
        return _hashTypedDataV4(hash);
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
        Refusal problem = _whyNotGranted(patient, keccak256(abi.encode(grantee, salt)), salt, terms);
        if (problem != Refusal.Nothing) return problem;
        if (category == 0 || category & ~terms.categories != 0) return Refusal.CategoryNotGranted;
        if (purpose == 0 || purpose & ~terms.purposes != 0) return Refusal.PurposeNotGranted;
        return _whyNotEligible(grantee, category);
    }

    function _whyNotGranted(
        address patient,
        bytes32 blinded,
        bytes32 salt,
        Terms calldata terms
    ) private view returns (Refusal) {
        GrantSlot slot = _grants[_key(patient, blinded)];
        if (slot.version() == 0) return Refusal.NoGrant;
        if (slot.terms() == 0) return Refusal.Revoked;
        if (slot.epoch() != epochs[patient]) return Refusal.AllRevoked;
        if (!slot.matches(hashTerms(salt, slot.version(), terms))) return Refusal.OtherTerms;
        if (block.timestamp < terms.notBefore) return Refusal.NotYet;
        if (block.timestamp >= terms.expiry) return Refusal.Expired;
        return Refusal.Nothing;
    }

    function _whyNotEligible(address grantee, uint64 category) private view returns (Refusal) {
        (ICareRegistry.Standing standing, , uint64 cap) = registry.standingOf(grantee);
        if (standing == ICareRegistry.Standing.NotAccredited) return Refusal.GranteeNotAccredited;
        if (standing == ICareRegistry.Standing.Suspended) return Refusal.GranteeSuspended;
        if (standing == ICareRegistry.Standing.NotYetValid) return Refusal.GranteeNotYetValid;
        if (standing == ICareRegistry.Standing.Expired) return Refusal.GranteeExpired;
        if (category & ~cap != 0) return Refusal.BeyondCap;
        return Refusal.Nothing;
    }

    /// @inheritdoc IRecordAccess
    function grants(
        address patient,
        bytes32 blinded
    ) external view returns (bytes22 terms, uint40 epoch, uint40 version) {
        GrantSlot slot = _grants[_key(patient, blinded)];
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
