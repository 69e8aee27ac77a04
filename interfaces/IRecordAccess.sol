// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICareRegistry} from "./ICareRegistry.sol";

/// @title Who may read which records, said by the patient and by nobody else
/// @notice A patient is a pseudonym: an address with a key of its own for each relationship, so nothing links two grants
/// of one person. The patient signs; anyone may carry the message and pays the gas; patients hold no ether.
///
/// A grant is *blinded*. The chain holds, in one slot that is never zeroed,
///
///     key    keccak256(patient, blinded)      blinded = keccak256(grantee, salt)
///     bits 255..80  terms    176 bits of keccak256(salt, version, categories, purposes, notBefore, expiry); 0: revoked
///     bits  79..40  epoch    the patient's epoch that the grant belongs to
///     bits  39..0   version  1 for the first message about this key, one more for each; the anti-replay nonce
///
/// and whoever does not hold the salt can't tell from it who was granted what, nor a grant from noise. The
/// grantee holds salt and terms and shows them to the custodian of the records, who asks `whyNot`.
/// @dev The version named in a message must be the one after the key's own, so each message works once, in the
/// order signed, and a landed revoke also kills every older signature that was not sent. All times are unix seconds.
interface IRecordAccess {
    /// @notice What a patient grants. Never on chain in clear.
    /// @param categories bits, one per FHIR resource type, see ICareRegistry
    /// @param purposes bits, one per code of v3 PurposeOfUse, by the table in `liggare/records/categories.py`
    /// @param notBefore from then, inclusive
    /// @param expiry until then, exclusive
    struct Terms {
        uint64 categories;
        uint32 purposes;
        uint64 notBefore;
        uint64 expiry;
    }

    /// @notice Why a read is refused; the first that holds, from the top. `Nothing`: it may be read.
    enum Refusal {
        Nothing,
        NoGrant, // nothing was ever granted under this patient, grantee and salt
        Revoked, // the grant was revoked
        AllRevoked, // the patient revoked all that was granted up to then
        OtherTerms, // the terms shown are not those of the grant as it stands
        NotYet, // the grant begins later
        Expired, // the grant has ended
        CategoryNotGranted, // no category asked for, or one that the grant lacks
        PurposeNotGranted, // no purpose given, or one that the grant lacks
        GranteeNotAccredited,
        GranteeSuspended,
        GranteeNotYetValid,
        GranteeExpired,
        BeyondCap // a category that an organisation like this may never be granted
    }

    // ------------------------------------------------------------------ errors

    /// @notice The message was to land by `deadline`, and now it is `timestamp`.
    error RecordsExpired(uint256 deadline, uint256 timestamp);
    /// @notice The message carries `version`, the key's next one is `expected`: used, superseded, or out of turn.
    error RecordsWrongVersion(uint256 version, uint256 expected);
    /// @notice The message carries `epoch`, the patient's is `expected`.
    error RecordsWrongEpoch(uint256 epoch, uint256 expected);
    /// @notice The signature is not `patient`'s over exactly this message.
    error RecordsInvalidSignature(address patient);
    /// @notice Only an accredited provider in good standing anchors records; `caller` has these `roles` and stands so.
    error RecordsCallerNotProvider(address caller, uint8 roles, ICareRegistry.Standing standing);
    /// @notice The hash was anchored before, by `custodian`.
    error RecordsAlreadyAnchored(bytes32 saltedHash, address custodian);
    /// @notice The log head names `predecessor`, the custodian's own is `expected`: a fork, or a repeat.
    error RecordsLogForked(bytes32 predecessor, bytes32 expected);
    /// @notice The log has `size` entries now, and had `previousSize` before: it must grow.
    error RecordsLogShrunk(uint64 size, uint64 previousSize);

    // ------------------------------------------------------------------ events

    /// @notice A grant was made or changed. `id` is the signed message's EIP-712 digest, `slot` the word stored: terms,
    /// epoch and version, as drawn above.
    event Granted(bytes32 indexed id, address indexed patient, bytes32 blinded, bytes32 slot);
    /// @notice A grant was revoked. `id` is the signed message's EIP-712 digest.
    event Revoked(bytes32 indexed id, address indexed patient, bytes32 blinded, uint40 version);
    /// @notice Everything granted under another epoch than `epoch` is revoked. `id` is the message's EIP-712 digest.
    event AllRevoked(bytes32 indexed id, address indexed patient, uint40 epoch);
    /// @notice A custodian put a record's salted hash down at this block's time.
    event RecordAnchored(bytes32 indexed saltedHash, address indexed custodian);
    /// @notice A custodian's access log had `size` entries and the Merkle root `head` (RFC 9162). `predecessor` is the
    /// word that stood before, see `logHeads`.
    event LogHeadPosted(address indexed custodian, bytes32 predecessor, uint64 size, bytes32 head);

    // ------------------------------------------------------------------ grants

    /// @notice Make or change a grant that `patient` signed. Anyone may call.
    /// @dev Typed data: Grant(address patient,bytes32 blinded,bytes32 terms,uint40 epoch,uint40 version,uint48 deadline).
    /// The epoch is not compared here (that would cost a storage read) but at each read: a grant signed before a
    /// revoke-all may land afterwards, and then lets nobody read anything. Nobody knows a later epoch
    /// in advance, so nobody can have a signature for one. Emits Granted.
    /// @param patient the pseudonym, signer
    /// @param blinded keccak256(abi.encode(grantee, salt))
    /// @param terms `hashTerms` of salt, version and terms
    /// @param epoch the patient's epoch, `epochs`
    /// @param version the key's version and one
    /// @param deadline the message may land up to and including this time
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
    ) external;

    /// @notice As above with the signature as bytes: 65 (r, s, v), 64 (EIP-2098) or whatever a contract wallet
    /// takes by ERC-1271, which is asked with a gas cap.
    function grant(
        address patient,
        bytes32 blinded,
        bytes32 terms,
        uint40 epoch,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Revoke a grant by the patient's signature. Anyone may call. Takes effect with this block.
    /// @dev Typed data: Revoke(address patient,bytes32 blinded,uint40 version,uint48 deadline). A key that holds no
    /// live grant can be revoked as well, to kill a grant that was signed and not sent. Emits Revoked.
    function revoke(
        address patient,
        bytes32 blinded,
        uint40 version,
        uint48 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice As above with the signature as bytes.
    function revoke(
        address patient,
        bytes32 blinded,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Revoke all that `patient` granted, at one price however many. Anyone may call.
    /// @dev Typed data: RevokeAll(address patient,uint40 epoch,uint48 deadline), naming the epoch that ends. The next
    /// one is taken from the last block's hash, so no signature for it can exist. Emits AllRevoked.
    function revokeAll(
        address patient,
        uint40 epoch,
        uint48 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice As above with the signature as bytes.
    function revokeAll(address patient, uint40 epoch, uint48 deadline, bytes calldata signature) external;

    // ------------------------------------------------------------------ custodians

    /// @notice Put down that a record stood so at this block's time. Only an accredited provider in good standing.
    /// @param saltedHash a hash over the custodian's address, a random salt and the record; each only once
    function anchorRecord(bytes32 saltedHash) external;

    /// @notice Put down the head of the caller's access log. Anyone may: a head speaks for its sender only, and a
    /// suspended custodian must still be able to answer for its log.
    /// @param predecessor the caller's word in `logHeads`, 0 for the first; so a log can't be told in two ways
    /// @param size number of entries, above the last
    /// @param head Merkle root over them (RFC 9162, SHA-256)
    function postLogHead(bytes32 predecessor, uint64 size, bytes32 head) external;

    // ------------------------------------------------------------------ views

    /// @notice Whether `grantee` may read records of all of `category` for `purpose`, at this block.
    /// @param category bits asked for, at least one; all must be granted
    /// @param purpose bits declared, at least one; all must be granted
    function mayRead(
        address patient,
        address grantee,
        bytes32 salt,
        Terms calldata terms,
        uint64 category,
        uint32 purpose
    ) external view returns (bool);

    /// @notice As `mayRead`, and if not, why.
    function whyNot(
        address patient,
        address grantee,
        bytes32 salt,
        Terms calldata terms,
        uint64 category,
        uint32 purpose
    ) external view returns (Refusal);

    /// @notice What stands under a patient's blinded grantee.
    /// @return terms the upper 176 bits of `hashTerms`, on the left; 0 where nothing is granted
    /// @return epoch the patient's epoch when it was granted
    /// @return version 0 where no message ever landed
    function grants(
        address patient,
        bytes32 blinded
    ) external view returns (bytes22 terms, uint40 epoch, uint40 version);

    /// @notice The patient's epoch: 0 until the first revoke-all, then a number that nobody knew before.
    function epochs(address patient) external view returns (uint40);

    /// @notice Who anchored a record's salted hash, and when; zero for none.
    function anchors(bytes32 saltedHash) external view returns (address custodian, uint48 time);

    /// @notice The custodian's last log head as one word: the upper 192 bits of the Merkle root, then 64 bits of size.
    function logHeads(address custodian) external view returns (bytes32);

    /// @notice keccak256(abi.encode(salt, version, categories, purposes, notBefore, expiry)).
    function hashTerms(bytes32 salt, uint40 version, Terms calldata terms) external pure returns (bytes32);

    /// @notice Where the organisations are accredited.
    function registry() external view returns (ICareRegistry);

    /// @notice What every signature is bound to (EIP-712).
    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() external view returns (bytes32);
}
