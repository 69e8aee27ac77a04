// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IRecordAccess} from "../../interfaces/IRecordAccess.sol";
import {Signatures} from "../shared/Signatures.sol";
import {GuardianSlot, appointed, dismissed} from "./GuardianSlot.sol";
import {RecoverySlot, recovery} from "./RecoverySlot.sol";

/// @title Who acts for a patient: its actor, guardians, and how a lost key is recovered
/// @notice The first of the three parts of RecordAccess; see IRecordAccess for what each action promises.
abstract contract Guardians is IRecordAccess, EIP712 {
    // ------------------------------------------------------------------ constants

    bytes32 private constant APPOINT_TYPEHASH = keccak256(
        "Appoint(address patient,address appointer,address guardian,uint8 rights,uint48 until,uint40 version,uint48 deadline)"
    );
    bytes32 private constant DISMISS_TYPEHASH = keccak256(
        "Dismiss(address patient,address by,address guardian,uint40 version,uint48 deadline)"
    );
    bytes32 private constant SET_RECOVERY_TYPEHASH = keccak256(
        "SetRecovery(address patient,uint8 threshold,uint32 delay,uint40 version,uint48 deadline)"
    );
    bytes32 private constant RECOVER_TYPEHASH = keccak256(
        "Recover(address patient,address successor,uint40 version,uint48 deadline)"
    );
    bytes32 private constant STOP_RECOVERY_TYPEHASH = keccak256(
        "StopRecovery(address patient,uint40 version,uint48 deadline)"
    );

    /// @dev Where the arguments of a call begin in its calldata: after the selector.
    uint256 internal constant ARGUMENTS = 4;

    uint8 internal constant GRANT = 1;
    uint8 private constant APPOINT = 2;
    uint8 private constant RECOVER = 4;
    uint8 private constant ALL_RIGHTS = 15;

    /// @dev How many guardians may stand in a chain below the actor: what `_depth` walks at most.
    uint256 private constant MAX_DEPTH = 4;

    /// @dev Time enough for the holder of a key to see that a recovery began, in seconds.
    uint256 private constant MIN_DELAY = 1 days;

    // ------------------------------------------------------------------ storage

    /// @dev What stands of a patient as a whole, in two slots, all zero at first.
    /// successor: the actor, once a recovery was completed; zero before
    /// epoch: which grants count; another with each revoke-all and recovery
    /// serial: the actor's, under which its guardians stand; another with each recovery
    /// emergencyVersion, emergencyRefused: messages about emergencies, and whether nobody breaks the glass
    struct Account {
        address successor;
        uint40 epoch;
        uint40 serial;
        uint40 emergencyVersion;
        bool emergencyRefused;
    }

    mapping(address patient => Account) internal _accounts;

    /// @dev A guardianship: what was said last, then its own serial and, in the 40 bits above, the one it stands under.
    struct Guardianship {
        GuardianSlot slot;
        uint256 serials;
    }

    /// @dev The version stays when a guardian is dismissed, so that no message works twice.
    mapping(address patient => mapping(address guardian => Guardianship)) private _guardians;

    /// @dev The version stays whatever else is cleared.
    mapping(address patient => RecoverySlot) private _recoveries;

    /// @dev Who becomes the actor when the recovery on its way is completed; zero for none.
    mapping(address patient => address) private _successors;

    // ------------------------------------------------------------------ guardians

    /// @inheritdoc IRecordAccess
    function appoint(
        address patient,
        address appointer,
        address guardian,
        uint8 rights,
        uint48 until,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _check(APPOINT_TYPEHASH, 7, appointer, deadline, signature);
        Guardianship storage found = _guardians[patient][guardian];
        _checkVersion(found.slot.version(), version);
        _checkAppointment(patient, appointer, guardian, rights, until);
        // the serial does not come from the id, of which the signer could try many
        uint256 serials = _unforeseen(keccak256(abi.encode(patient, guardian, version)));
        serials |= uint256(_serialOf(patient, appointer)) << 40;
        found.slot = appointed(appointer, rights, until, version);
        found.serials = serials;
        _tellAppointed(id, patient, guardian);
    }

    /// @inheritdoc IRecordAccess
    function dismiss(
        address patient,
        address by,
        address guardian,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _check(DISMISS_TYPEHASH, 5, by, deadline, signature);
        Guardianship storage found = _guardians[patient][guardian];
        _checkVersion(found.slot.version(), version);
        if (by != guardian && by != found.slot.appointer() && by != actorOf(patient))
            revert RecordsMayNotDismiss(by, guardian);
        found.slot = dismissed(version);
        found.serials = 0;
        emit GuardianDismissed(id, patient, guardian, by, version);
    }

    // ------------------------------------------------------------------ recovery

    /// @inheritdoc IRecordAccess
    function setRecovery(
        address patient,
        uint8 threshold,
        uint32 delay,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _check(SET_RECOVERY_TYPEHASH, 5, actorOf(patient), deadline, signature);
        _checkVersion(_recoveries[patient].version(), version);
        if (threshold != 0 && delay < MIN_DELAY) revert RecordsDelayTooShort(delay, MIN_DELAY);
        _setRecovery(patient, recovery(threshold, delay, 0, version), address(0));
        emit RecoverySet(id, patient, threshold, delay, version);
    }

    /// @inheritdoc IRecordAccess
    function recover(
        address patient,
        address successor,
        uint40 version,
        uint48 deadline,
        Approval[] calldata approvals
    ) external {
        bytes32 id = _id(RECOVER_TYPEHASH, ARGUMENTS, 4);
        _checkDeadline(deadline);
        RecoverySlot found = _recoveries[patient];
        _checkVersion(found.version(), version);
        if (successor == address(0) || successor == patient || successor == actorOf(patient))
            revert RecordsInvalidSuccessor(successor);
        if (found.threshold() == 0 || approvals.length < found.threshold())
            revert RecordsTooFewApprovals(approvals.length, found.threshold());
        _checkApprovals(id, patient, approvals);
        uint48 readyAt = uint48(block.timestamp) + found.delay();
        _setRecovery(patient, recovery(found.threshold(), found.delay(), readyAt, version), successor);
        emit RecoveryStarted(id, patient, successor, readyAt, version);
    }

    /// @inheritdoc IRecordAccess
    function stopRecovery(
        address patient,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _check(STOP_RECOVERY_TYPEHASH, 3, actorOf(patient), deadline, signature);
        RecoverySlot found = _recoveries[patient];
        _checkVersion(found.version(), version);
        _setRecovery(patient, recovery(found.threshold(), found.delay(), 0, version), address(0));
        emit RecoveryStopped(id, patient, version);
    }

    /// @inheritdoc IRecordAccess
    function completeRecovery(address patient) external {
        address successor = _successors[patient];
        if (successor == address(0)) revert RecordsNoRecovery(patient);
        RecoverySlot found = _recoveries[patient];
        if (block.timestamp < found.readyAt())
            revert RecordsRecoveryNotReady(found.readyAt(), block.timestamp);
        uint40 epoch = _unforeseen(keccak256(abi.encode(patient, successor, found.version())));
        Account storage account = _accounts[patient];
        (account.successor, account.epoch, account.serial) = (successor, epoch, epoch);
        _setRecovery(patient, recovery(0, 0, 0, found.version()), address(0));
        emit Recovered(patient, successor, epoch);
    }

    // ------------------------------------------------------------------ internal: guardians

    function _checkAppointment(
        address patient,
        address appointer,
        address guardian,
        uint8 rights,
        uint48 until
    ) private view {
        address actor = actorOf(patient);
        if (guardian == address(0) || guardian == patient || guardian == actor)
            revert RecordsInvalidGuardian(guardian);
        (uint8 allowed, uint48 latest) = (ALL_RIGHTS, type(uint48).max);
        if (appointer != actor) {
            if (!_isGuardian(patient, appointer, APPOINT)) revert RecordsMayNotAct(appointer, APPOINT);
            uint256 depth = _depth(patient, appointer) + 1;
            if (depth > MAX_DEPTH) revert RecordsTooDeep(depth, MAX_DEPTH);
            address before = _guardians[patient][guardian].slot.appointer();
            if (before != appointer && _depth(patient, guardian) != 0)
                revert RecordsGuardianTaken(guardian, before);
            GuardianSlot above = _guardians[patient][appointer].slot;
            (allowed, latest) = (above.rights() & ~RECOVER, above.until());
        }
        if (rights == 0 || rights & ~allowed != 0) revert RecordsInvalidRights(rights, allowed);
        if (until <= block.timestamp || until > latest) revert RecordsInvalidUntil(until, latest);
    }

    /// @dev Apart, since the members of the event are too many for one function's stack.
    function _tellAppointed(bytes32 id, address patient, address guardian) private {
        Guardian memory made = guardians(patient, guardian);
        emit GuardianAppointed(
            id,
            patient,
            guardian,
            made.appointer,
            made.rights,
            made.until,
            made.serial,
            made.under,
            made.version
        );
    }

    function _setRecovery(address patient, RecoverySlot slot, address successor) private {
        _recoveries[patient] = slot;
        _successors[patient] = successor;
    }

    /// @dev A live guardian with RECOVER was always appointed by the actor: nobody else can give that right.
    function _checkApprovals(bytes32 id, address patient, Approval[] calldata approvals) private view {
        address previous = address(0);
        for (uint256 i = 0; i < approvals.length; ++i) {
            address guardian = approvals[i].guardian;
            if (guardian <= previous) revert RecordsApprovalsNotAscending(guardian, previous);
            if (!_isGuardian(patient, guardian, RECOVER)) revert RecordsMayNotAct(guardian, RECOVER);
            if (!Signatures.isSignature(guardian, id, approvals[i].signature))
                revert RecordsInvalidSignature(guardian);
            previous = guardian;
        }
    }

    /// @dev Whether `who` is a live guardian with all of these rights.
    function _isGuardian(address patient, address who, uint8 rights) private view returns (bool) {
        return rights & ~_guardians[patient][who].slot.rights() == 0 && _depth(patient, who) != 0;
    }

    /// @dev How far below the actor `who` stands as a live guardian, 1 for the actor's own; 0 if it is none.
    function _depth(address patient, address who) private view returns (uint256) {
        address actor = actorOf(patient);
        for (uint256 depth = 1; depth <= MAX_DEPTH; ++depth) {
            Guardianship storage found = _guardians[patient][who];
            GuardianSlot slot = found.slot;
            if (slot.rights() == 0 || block.timestamp >= slot.until()) return 0;
            if (depth != 1 && slot.rights() & APPOINT == 0) return 0;
            who = slot.appointer();
            if (uint40(found.serials >> 40) != _serialOf(patient, who)) return 0;
            if (who == actor) return depth;
        }
        return 0;
    }

    /// @dev What those stand under whom `who` appoints.
    function _serialOf(address patient, address who) private view returns (uint40) {
        return who == actorOf(patient) ? _accounts[patient].serial : uint40(_guardians[patient][who].serials);
    }

    // ------------------------------------------------------------------ internal: messages

    /// @dev Check the message whose members are the first arguments of this call, and return its id.
    function _check(
        bytes32 typehash,
        uint256 members,
        address signer,
        uint48 deadline,
        bytes calldata signature
    ) internal view returns (bytes32 id) {
        id = _id(typehash, ARGUMENTS, members);
        if (!Signatures.isSignature(signer, id, signature)) revert RecordsInvalidSignature(signer);
        _checkDeadline(deadline);
    }

    function _checkDeadline(uint48 deadline) internal view {
        if (block.timestamp > deadline) revert RecordsExpired(deadline, block.timestamp);
    }

    function _checkVersion(uint40 last, uint40 version) internal pure {
        // in 256 bits: after the 2^40th message there are no more, it does not start again
        uint256 expected = uint256(last) + 1;
        if (version != expected) revert RecordsWrongVersion(version, expected);
    }

    /// @dev The EIP-712 digest of the message whose `members` stand in the calldata from `start` on, in order. They are
    /// hashed as they stand there, which saves 300 gas: the decoder refuses any that is not in its clean form.
    /// Tests pin the digests by another implementation.
    function _id(bytes32 typehash, uint256 start, uint256 members) internal view returns (bytes32) {
        bytes32 hash;
        assembly ("memory-safe") {
            let words := mload(0x40) // the free memory, which stays free: nothing of this is kept
            mstore(words, typehash)
            calldatacopy(add(words, 32), start, mul(members, 32))
            hash := keccak256(words, add(32, mul(members, 32)))
        }
        return _hashTypedDataV4(hash);
    }

    /// @dev A number that nobody could know before the last block.
    function _unforeseen(bytes32 seed) internal view returns (uint40) {
        return uint40(uint256(keccak256(abi.encode(seed, blockhash(block.number - 1)))));
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IRecordAccess
    function epochs(address patient) external view returns (uint40) {
        return _accounts[patient].epoch;
    }

    /// @inheritdoc IRecordAccess
    function epochOf(address patient, address author) public view returns (uint40) {
        (bool isAuthor, uint40 epoch) = _epochOf(patient, author);
        if (!isAuthor) revert RecordsMayNotAct(author, GRANT);
        return epoch;
    }

    function _epochOf(address patient, address author) internal view returns (bool isAuthor, uint40 epoch) {
        epoch = _accounts[patient].epoch;
        if (author == actorOf(patient)) return (true, epoch);
        if (!_isGuardian(patient, author, GRANT)) return (false, 0);
        return (true, uint40(uint256(keccak256(abi.encode(epoch, _serialOf(patient, author))))));
    }

    /// @inheritdoc IRecordAccess
    function actorOf(address patient) public view returns (address) {
        address successor = _accounts[patient].successor;
        return successor == address(0) ? patient : successor;
    }

    /// @inheritdoc IRecordAccess
    function mayAct(address patient, address who, uint8 rights) external view returns (bool) {
        return who == actorOf(patient) || _isGuardian(patient, who, rights);
    }

    /// @inheritdoc IRecordAccess
    function guardians(address patient, address guardian) public view returns (Guardian memory) {
        Guardianship storage found = _guardians[patient][guardian];
        return
            Guardian({
                appointer: found.slot.appointer(),
                rights: found.slot.rights(),
                until: found.slot.until(),
                version: found.slot.version(),
                serial: uint40(found.serials),
                under: uint40(found.serials >> 40)
            });
    }

    /// @inheritdoc IRecordAccess
    function recoveries(address patient) external view returns (Recovery memory) {
        RecoverySlot found = _recoveries[patient];
        return
            Recovery({
                threshold: found.threshold(),
                delay: found.delay(),
                readyAt: found.readyAt(),
                version: found.version(),
                successor: _successors[patient]
            });
    }
}
