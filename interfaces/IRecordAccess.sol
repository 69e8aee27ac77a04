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
/// Others come in besides the patient, each by a signature and within bounds that the patient set:
///
///  - *Guardians*, whom the patient appoints for a time, with some of the rights GRANT 1, APPOINT 2, RECOVER 4 and
///    READ 8. What they grant lies under keys of its own, so it never touches the patient's own grants; it ends with them.
///    A guardian is best an address made for this ward alone: then the chain links it to nothing else.
///  - The *successor*, a new key that guardians name where the patient's own is lost or stolen. It comes into force after
///    a delay in which the old key can stop it. The *actor* of a patient is its own key, after that the successor's.
///  - Emergency services, which *break the glass*: for hours, for a reason, so often a day, in public. A patient may
///    refuse it beforehand.
///
/// Whoever signed a grant is its *author*: the patient's own key (the short way below, whose grants lie under
/// keccak256(patient, blinded)), the successor or a guardian (under keccak256(patient, author, blinded)).
/// @dev The version named in a message must be the one after the key's own, so each message works once, in the
/// order signed, and a landed revoke also kills every older signature that was not sent. The same holds of each guardian,
/// of a patient's recovery, of its word on emergencies, and of each emergency. All times are unix seconds. Where a
/// signature is asked for as bytes it is 65 (r, s, v), 64 (EIP-2098) or whatever a contract wallet takes by ERC-1271.
/// Numbers that nobody may know beforehand (epochs, serials) come from the last block's hash.
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

    /// @notice A grant, or where `terms` is 0 a revoke, with its patient's signature, as a batch carries it: the members
    /// of the signed Grant in their order, then the signature in EIP-2098's form. A Revoke has no epoch: 0, not read.
    struct SignedGrant {
        address patient;
        bytes32 blinded;
        bytes32 terms;
        uint40 epoch;
        uint40 version;
        uint48 deadline;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice One grant of a bundle, or where `terms` is 0 one revoke.
    struct BundledGrant {
        bytes32 blinded;
        bytes32 terms;
        uint40 version;
    }

    /// @notice What a guardian is to one patient. It is *live* if it has rights, its time is not over, and the appointer
    /// is either the actor, with the actor's own serial being `under`, or a live guardian with APPOINT whose serial is
    /// `under`. So whoever is dismissed takes along all that it appointed, and being appointed again revives none.
    /// @param appointer who signed the appointment; zero where none stands
    /// @param rights bits: GRANT 1, APPOINT 2, RECOVER 4, READ 8; 0 where none stands
    /// @param until unix time until which, exclusive, it may act
    /// @param version how many messages about this guardian landed
    /// @param serial number of this appointment, which nobody knew before
    /// @param under the appointer's serial when it appointed: for the actor 0, after a recovery the epoch that began then
    struct Guardian {
        address appointer;
        uint8 rights;
        uint48 until;
        uint40 version;
        uint40 serial;
        uint40 under;
    }

    /// @notice How a lost key is recovered, and the recovery that is on its way.
    /// @param threshold how many guardians with RECOVER it takes; 0: there is no recovery
    /// @param delay seconds from start to completion
    /// @param readyAt unix time from which, inclusive, the recovery on its way can be completed; 0 for none
    /// @param version how many messages about this patient's recovery landed
    /// @param successor who becomes the actor; zero for none on its way
    struct Recovery {
        uint8 threshold;
        uint32 delay;
        uint48 readyAt;
        uint40 version;
        address successor;
    }

    /// @notice A guardian's signature for a recovery.
    struct Approval {
        address guardian;
        bytes signature;
    }

    /// @notice Why a read is refused; the first that holds: KeyReplaced, NotAuthor, then from the top. `Nothing`: it may
    /// be read. An emergency's: NoEmergency, EmergencyOver, EmergencyRefused, then CategoryNotGranted (none asked for),
    /// PurposeNotGranted (not the reason given), those of the reader from the top, NotEmergencyService.
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
        BeyondCap, // a category that an organisation like this may never be granted
        KeyReplaced, // the patient's own key was replaced in a recovery, and what it signed counts no more
        NotAuthor, // who granted is neither the actor nor a live guardian with the right to grant
        NoEmergency, // the organisation never broke the glass for this patient
        EmergencyOver, // its time is over
        EmergencyRefused, // the patient lets nobody break the glass
        NotEmergencyService // the reader lacks the role emergency
    }

    // ------------------------------------------------------------------ errors

    /// @notice The message was to land by `deadline`, and now it is `timestamp`.
    error RecordsExpired(uint256 deadline, uint256 timestamp);
    /// @notice The message carries `version`, the key's next one is `expected`: used, superseded, or out of turn.
    error RecordsWrongVersion(uint256 version, uint256 expected);
    /// @notice The message carries `epoch`, the patient's is `expected`.
    error RecordsWrongEpoch(uint256 epoch, uint256 expected);
    /// @notice The signature is not `signer`'s over exactly this message.
    error RecordsInvalidSignature(address signer);
    /// @notice `who` is neither the patient's actor nor a live guardian with these `rights`.
    error RecordsMayNotAct(address who, uint8 rights);
    /// @notice The address can't be a guardian of this patient: nobody, the patient itself or its actor.
    error RecordsInvalidGuardian(address guardian);
    /// @notice The rights are none at all, or more than `allowed`: those of the appointer but for RECOVER, which only
    /// the actor gives.
    error RecordsInvalidRights(uint8 rights, uint8 allowed);
    /// @notice The time must lie ahead, and at `latest` at most: the appointer's own time, or an emergency's 24 hours.
    error RecordsInvalidUntil(uint256 until, uint256 latest);
    /// @notice The guardian is a live one, of `appointer`: only that one or the actor appoints it anew.
    error RecordsGuardianTaken(address guardian, address appointer);
    /// @notice The guardian would stand `depth` below the actor, and `limit` is the most.
    error RecordsTooDeep(uint256 depth, uint256 limit);
    /// @notice Only the actor, the appointer and the guardian itself end a guardianship; `by` is none of them.
    error RecordsMayNotDismiss(address by, address guardian);
    /// @notice A recovery takes `minimum` seconds at least.
    error RecordsDelayTooShort(uint256 delay, uint256 minimum);
    /// @notice The address can't become the actor: nobody, the patient's own key, or the present one.
    error RecordsInvalidSuccessor(address successor);
    /// @notice `count` guardians approved, `threshold` are needed; 0 where the patient set no recovery.
    error RecordsTooFewApprovals(uint256 count, uint256 threshold);
    /// @notice Guardians are named in ascending order, each once; `guardian` does not come after `previous`.
    error RecordsApprovalsNotAscending(address guardian, address previous);
    /// @notice No recovery of this patient is on its way.
    error RecordsNoRecovery(address patient);
    /// @notice The recovery can be completed from `readyAt` on, and now it is `timestamp`.
    error RecordsRecoveryNotReady(uint256 readyAt, uint256 timestamp);
    /// @notice A reason is exactly one of the `known` bits.
    error RecordsInvalidReason(uint32 reason, uint32 known);
    /// @notice Only an accredited emergency service in good standing breaks the glass; this one has these `roles` and
    /// stands so.
    error RecordsNotEmergencyService(address organisation, uint8 roles, ICareRegistry.Standing standing);
    /// @notice The patient lets nobody break the glass.
    error RecordsEmergencyRefused(address patient);
    /// @notice The organisation has broken the glass `quota` times today, and may not more often.
    error RecordsQuotaUsed(address organisation, uint256 quota);
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
    /// epoch and version, as drawn above. All grants of a bundle have the bundle's id.
    event Granted(bytes32 indexed id, address indexed patient, bytes32 blinded, bytes32 slot);
    /// @notice A grant was revoked. `id` is the signed message's EIP-712 digest.
    event Revoked(bytes32 indexed id, address indexed patient, bytes32 blinded, uint40 version);
    /// @notice Everything granted under another epoch than `epoch` is revoked. `id` is the message's EIP-712 digest.
    event AllRevoked(bytes32 indexed id, address indexed patient, uint40 epoch);
    /// @notice Item number `index` of a batch was not carried out; `reason` is the selector of the error by which it
    /// would have been refused alone.
    event Skipped(uint256 index, bytes32 indexed id, bytes4 reason);
    /// @notice A grant was made or changed by a guardian or the successor. `slot` as in Granted, its epoch as `epochOf`.
    event GrantedFor(
        bytes32 indexed id,
        address indexed patient,
        address indexed author,
        bytes32 blinded,
        bytes32 slot
    );
    /// @notice What `author` granted was revoked, by itself or by the actor.
    event RevokedFor(
        bytes32 indexed id,
        address indexed patient,
        address indexed author,
        bytes32 blinded,
        uint40 version
    );
    /// @notice A guardian was appointed, or anew in other words; members as in Guardian.
    event GuardianAppointed(
        bytes32 indexed id,
        address indexed patient,
        address indexed guardian,
        address appointer,
        uint8 rights,
        uint48 until,
        uint40 serial,
        uint40 under,
        uint40 version
    );
    /// @notice A guardianship ended, and with it all that the guardian granted and appointed.
    event GuardianDismissed(
        bytes32 indexed id,
        address indexed patient,
        address indexed guardian,
        address by,
        uint40 version
    );
    /// @notice The patient set how its key is recovered. A recovery that was on its way is stopped.
    event RecoverySet(
        bytes32 indexed id,
        address indexed patient,
        uint8 threshold,
        uint32 delay,
        uint40 version
    );
    /// @notice Guardians began a recovery; one that was on its way before is replaced.
    event RecoveryStarted(
        bytes32 indexed id,
        address indexed patient,
        address successor,
        uint48 readyAt,
        uint40 version
    );
    /// @notice The actor stopped the recovery on its way.
    event RecoveryStopped(bytes32 indexed id, address indexed patient, uint40 version);
    /// @notice `successor` is the actor from now on, `epoch` the patient's epoch and the actor's serial. All guardians end,
    /// threshold and delay are 0 again, and what the patient's own key signs counts no more. No message: no id.
    event Recovered(address indexed patient, address successor, uint40 epoch);
    /// @notice The patient lets emergency services break the glass (as at first), or does not.
    event EmergencySet(bytes32 indexed id, address indexed patient, bool allowed, uint40 version);
    /// @notice An emergency service may read until then. The n-th of these for one organisation and patient is its
    /// version n.
    event GlassBroken(
        bytes32 indexed id,
        address indexed organisation,
        address indexed patient,
        uint32 reason,
        uint48 until
    );
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

    /// @notice Revoke all that the patient and its guardians granted, at one price however many. Anyone may call.
    /// @dev Typed data: RevokeAll(address patient,uint40 epoch,uint48 deadline), signed by the actor, naming the epoch
    /// that ends. The next one is taken from the last block's hash, so no signature for it can exist. Guardians stay
    /// what they are. Emits AllRevoked.
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

    /// @notice Carry many patients' grants and revokes. Anyone may call. One that can't be carried out is skipped with
    /// its reason, and nothing of it is done; the others are.
    /// @dev Each is a Grant, or where `terms` is 0 a Revoke, signed by the patient's own key; there is no form for
    /// contract wallets. Reasons: RecordsInvalidSignature, RecordsExpired, RecordsWrongVersion. Want of gas reverts
    /// the whole batch, never skips; so does calldata that is no such array. Emits Granted, Revoked, Skipped.
    /// @return reasons 0 for each item that was carried out, else as in Skipped: for a carrier's dry run
    function grantBatch(SignedGrant[] calldata items) external returns (bytes4[] memory reasons);

    /// @notice Make, change and revoke many grants of one patient by one signature, all or none. Anyone may call.
    /// @dev Typed data: GrantBundle(address patient,BundledGrant[] grants,uint40 epoch,uint48 deadline)
    /// BundledGrant(bytes32 blinded,bytes32 terms,uint40 version). Each version must be its key's next. As in `grant` the
    /// epoch is compared at the reads. Emits Granted for each, with the bundle's id, and Revoked where terms is 0.
    /// The chain shows what it shows anyway: that all are of one pseudonym.
    function grantBundle(
        address patient,
        BundledGrant[] calldata items,
        uint40 epoch,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Make or change a grant in the patient's stead. Anyone may call.
    /// @dev Typed data: GrantFor(address patient,address author,bytes32 blinded,bytes32 terms,uint40 epoch,uint40
    /// version,uint48 deadline), signed by the author, who must be the actor after a recovery, or a live guardian with
    /// GRANT; at each read again. Before a recovery the patient itself uses `grant`. Emits GrantedFor.
    /// @param author who grants, signer
    /// @param epoch `epochOf` patient and author; compared here as well, since it has been read anyway
    /// @param version the next of the key keccak256(abi.encode(patient, author, blinded))
    function grantFor(
        address patient,
        address author,
        bytes32 blinded,
        bytes32 terms,
        uint40 epoch,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Revoke what `author` granted in the patient's stead. Anyone may call.
    /// @dev Typed data: RevokeFor(address patient,address author,bytes32 blinded,uint40 version,uint48 deadline), signed by
    /// the author, whatever it is by now, or by the actor. A guardian's appointer ends them by dismissing it. Emits
    /// RevokedFor.
    function revokeFor(
        address patient,
        address author,
        bytes32 blinded,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external;

    // ------------------------------------------------------------------ guardians

    /// @notice Appoint a guardian, or a live one anew: its earlier grants and appointments end in any case. Anyone may
    /// call.
    /// @dev Typed data: Appoint(address patient,address appointer,address guardian,uint8 rights,uint48 until,uint40
    /// version,uint48 deadline), signed by the appointer: the actor, or a live guardian with APPOINT, which gives no
    /// right that it lacks, not RECOVER (votes would multiply), and no time beyond its own. A live guardian is only
    /// appointed by its own appointer or the actor, so there are no cycles. Four stand in a chain at most. Emits
    /// GuardianAppointed.
    /// @param rights bits: GRANT 1, APPOINT 2, RECOVER 4, READ 8 (to sign in at a custodian as for the patient)
    /// @param until unix time until which, exclusive, it may act
    /// @param version the guardian's next for this patient
    function appoint(
        address patient,
        address appointer,
        address guardian,
        uint8 rights,
        uint48 until,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice End a guardianship and all that hangs on it. Anyone may call. Takes effect with this block.
    /// @dev Typed data: Dismiss(address patient,address by,address guardian,uint40 version,uint48 deadline), signed by
    /// `by`: the actor, the appointer or the guardian itself. The actor and the guardian may also end one that does not
    /// stand, to kill an appointment that was signed and not sent. Emits GuardianDismissed.
    function dismiss(
        address patient,
        address by,
        address guardian,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external;

    // ------------------------------------------------------------------ recovery

    /// @notice Set how the patient's key is recovered. Anyone may call. A recovery on its way is stopped.
    /// @dev Typed data: SetRecovery(address patient,uint8 threshold,uint32 delay,uint40 version,uint48 deadline), signed
    /// by the actor. A delay is a day at least, but with threshold 0: no recovery. Emits RecoverySet.
    function setRecovery(
        address patient,
        uint8 threshold,
        uint32 delay,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Begin a recovery: the delay runs from this block. Anyone may call. One on its way is replaced.
    /// @dev Typed data: Recover(address patient,address successor,uint40 version,uint48 deadline), signed by each of
    /// `approvals`: as many as the threshold at least, live guardians with RECOVER, their addresses ascending.
    /// They are looked at now and not again at the end: an actor that dismisses one has to stop the recovery as well.
    /// Emits RecoveryStarted.
    function recover(
        address patient,
        address successor,
        uint40 version,
        uint48 deadline,
        Approval[] calldata approvals
    ) external;

    /// @notice Stop the recovery on its way, also after its delay if nobody completed it. Anyone may call.
    /// @dev Typed data: StopRecovery(address patient,uint40 version,uint48 deadline), signed by the actor. Where none is on
    /// its way it kills approvals that were signed and not sent. Emits RecoveryStopped.
    function stopRecovery(
        address patient,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Complete a recovery whose delay is over: `successor` becomes the actor. Anyone may call. Emits Recovered.
    function completeRecovery(address patient) external;

    // ------------------------------------------------------------------ emergencies

    /// @notice Let emergency services break the glass, or not; at first they may. Anyone may call. A no bites at once,
    /// also on an emergency that runs.
    /// @dev Typed data: SetEmergency(address patient,bool allowed,uint40 version,uint48 deadline), signed by the actor.
    /// Emits EmergencySet.
    function setEmergency(
        address patient,
        bool allowed,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external;

    /// @notice Let an emergency service read what its cap allows of a patient's records, without a grant, in public.
    /// Anyone may call. Again before or after its end is a new one, and counts.
    /// @dev Typed data: BreakGlass(address organisation,address patient,uint32 reason,uint48 until,uint40 version,uint48
    /// deadline), signed by the organisation: role emergency, in good standing, with quota left on this day (unix time
    /// divided by 86,400). Emits GlassBroken.
    /// @param reason one bit of PurposeOfUse: ETREAT, BTG, DISASTER or THREAT; the purpose that may be declared
    /// @param until 24 hours ahead of this block's time at most
    /// @param version the next of this organisation and patient
    function breakGlass(
        address organisation,
        address patient,
        uint32 reason,
        uint48 until,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external;

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

    /// @notice As `whyNot` for what `author` granted; for the patient itself the same.
    function whyNotBy(
        address patient,
        address author,
        address grantee,
        bytes32 salt,
        Terms calldata terms,
        uint64 category,
        uint32 purpose
    ) external view returns (Refusal);

    /// @notice Whether and if not why `organisation` may read records of all of `category` for `purpose` because it
    /// broke the glass.
    /// @param purpose exactly the reason that it gave
    function whyNotEmergency(
        address organisation,
        address patient,
        uint64 category,
        uint32 purpose
    ) external view returns (Refusal);

    /// @notice What stands under a patient's blinded grantee, granted by the patient's own key.
    /// @return terms the upper 176 bits of `hashTerms`, on the left; 0 where nothing is granted
    /// @return epoch the patient's epoch when it was granted
    /// @return version 0 where no message ever landed
    function grants(
        address patient,
        bytes32 blinded
    ) external view returns (bytes22 terms, uint40 epoch, uint40 version);

    /// @notice What `author` granted in the patient's stead; for the patient itself its own.
    function grantsBy(
        address patient,
        address author,
        bytes32 blinded
    ) external view returns (bytes22 terms, uint40 epoch, uint40 version);

    /// @notice The patient's epoch: 0 until the first revoke-all or recovery, then a number that nobody knew before.
    function epochs(address patient) external view returns (uint40);

    /// @notice The epoch that grants of this author belong to: for the actor the patient's, for a live guardian with GRANT
    /// the lower 40 bits of keccak256(abi.encode(patient's epoch, guardian's serial)). Reverts for anyone else.
    function epochOf(address patient, address author) external view returns (uint40);

    /// @notice Who acts as the patient: its own key, after a recovery the successor's.
    function actorOf(address patient) external view returns (address);

    /// @notice Whether `who` is the patient's actor, or a live guardian with all of these rights.
    function mayAct(address patient, address who, uint8 rights) external view returns (bool);

    /// @notice What was said last of a guardian; whether it is live, `mayAct` tells.
    function guardians(address patient, address guardian) external view returns (Guardian memory);

    /// @notice How the patient's key is recovered, and the recovery on its way.
    function recoveries(address patient) external view returns (Recovery memory);

    /// @notice Whether the patient lets emergency services break the glass, and how many words on it landed.
    function emergencyOf(address patient) external view returns (bool allowed, uint40 version);

    /// @notice The last time that the organisation broke the glass for this patient; zero for never.
    function emergencies(
        address organisation,
        address patient
    ) external view returns (uint32 reason, uint48 until, uint40 version);

    /// @notice How often the organisation has broken the glass on the day of this block.
    function brokenToday(address organisation) external view returns (uint256);

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
