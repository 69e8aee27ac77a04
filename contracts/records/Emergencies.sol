// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICareRegistry} from "../../interfaces/ICareRegistry.sol";
import {IRecordAccess} from "../../interfaces/IRecordAccess.sol";
import {Guardians} from "./Guardians.sol";

/// @title Break-glass: emergency services read without a grant, for hours, for a reason, in public
/// @notice The second of the three parts of RecordAccess; see IRecordAccess for what each action promises.
abstract contract Emergencies is Guardians {
    // ------------------------------------------------------------------ constants

    bytes32 private constant SET_EMERGENCY_TYPEHASH = keccak256(
        "SetEmergency(address patient,bool allowed,uint40 version,uint48 deadline)"
    );
    bytes32 private constant BREAK_GLASS_TYPEHASH = keccak256(
        "BreakGlass(address organisation,address patient,uint32 reason,uint48 until,uint40 version,uint48 deadline)"
    );

    uint8 private constant EMERGENCY = 8;

    /// @dev ETREAT (bit 1), BTG (bit 9), DISASTER (bit 27) and THREAT (bit 28) of PurposeOfUse.
    uint32 private constant REASONS = (1 << 1) | (1 << 9) | (1 << 27) | (1 << 28);

    uint256 private constant LONGEST = 24 hours;

    /// @inheritdoc IRecordAccess
    // solhint-disable-next-line immutable-vars-naming
    ICareRegistry public immutable registry;

    // ------------------------------------------------------------------ storage

    /// @dev The last time that the glass was broken, in one slot; reason is a bit of PurposeOfUse, until unix time.
    struct Emergency {
        uint32 reason;
        uint48 until;
        uint40 version;
    }

    /// @dev The day, unix time divided by 86,400, on which the glass was broken last, and how often on it.
    struct Day {
        uint48 day;
        uint16 count;
    }

    /// @dev Changes with each breakGlass of the two; never cleared.
    mapping(address organisation => mapping(address patient => Emergency)) private _emergencies;

    /// @dev Changes with each breakGlass of the organisation.
    mapping(address organisation => Day) private _days;

    // ------------------------------------------------------------------ constructor

    constructor(ICareRegistry registry_) {
        registry = registry_;
    }

    // ------------------------------------------------------------------ emergencies

    /// @inheritdoc IRecordAccess
    function setEmergency(
        address patient,
        bool allowed,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _check(SET_EMERGENCY_TYPEHASH, 4, actorOf(patient), deadline, signature);
        Account storage account = _accounts[patient];
        _checkVersion(account.emergencyVersion, version);
        (account.emergencyRefused, account.emergencyVersion) = (!allowed, version);
        emit EmergencySet(id, patient, allowed, version);
    }

    /// @inheritdoc IRecordAccess
    function breakGlass(
        address organisation,
        address patient,
        uint32 reason,
        uint48 until,
        uint40 version,
        uint48 deadline,
        bytes calldata signature
    ) external {
        bytes32 id = _check(BREAK_GLASS_TYPEHASH, 6, organisation, deadline, signature);
        _checkVersion(_emergencies[organisation][patient].version, version);
        if (reason & REASONS == 0 || reason & (reason - 1) != 0) revert RecordsInvalidReason(reason, REASONS);
        if (until <= block.timestamp || until > block.timestamp + LONGEST)
            revert RecordsInvalidUntil(until, block.timestamp + LONGEST);
        if (_accounts[patient].emergencyRefused) revert RecordsEmergencyRefused(patient);
        _count(organisation);
        _emergencies[organisation][patient] = Emergency({reason: reason, until: until, version: version});
        emit GlassBroken(id, organisation, patient, reason, until);
    }

    // ------------------------------------------------------------------ internal

    /// @dev Check that the organisation may break the glass once more today, and count it.
    function _count(address organisation) private {
        (ICareRegistry.Standing standing, uint8 roles, ) = _standingOf(organisation);
        if (standing != ICareRegistry.Standing.Good || roles & EMERGENCY == 0)
            revert RecordsNotEmergencyService(organisation, roles, standing);
        uint256 used = brokenToday(organisation);
        uint16 quota = registry.organisations(organisation).breakGlassQuota;
        if (used >= quota) revert RecordsQuotaUsed(organisation, quota);
        // below a quota of 16 bits, so one more fits
        _days[organisation] = Day({day: uint48(block.timestamp / 1 days), count: uint16(used + 1)});
    }

    /// @dev In one place, for the size of the code.
    function _standingOf(
        address organisation
    ) internal view returns (ICareRegistry.Standing standing, uint8 roles, uint64 cap) {
        return registry.standingOf(organisation);
    }

    /// @dev Why the registry does not let `grantee` read `category`; `role` bits are those that it must have.
    function _whyNotEligible(address grantee, uint64 category, uint8 role) internal view returns (Refusal) {
        (ICareRegistry.Standing standing, uint8 roles, uint64 cap) = _standingOf(grantee);
        if (standing == ICareRegistry.Standing.NotAccredited) return Refusal.GranteeNotAccredited;
        if (standing == ICareRegistry.Standing.Suspended) return Refusal.GranteeSuspended;
        if (standing == ICareRegistry.Standing.NotYetValid) return Refusal.GranteeNotYetValid;
        if (standing == ICareRegistry.Standing.Expired) return Refusal.GranteeExpired;
        if (category & ~cap != 0) return Refusal.BeyondCap;
        return role & ~roles == 0 ? Refusal.Nothing : Refusal.NotEmergencyService;
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc IRecordAccess
    function whyNotEmergency(
        address organisation,
        address patient,
        uint64 category,
        uint32 purpose
    ) external view returns (Refusal) {
        Emergency memory found = _emergencies[organisation][patient];
        if (found.version == 0) return Refusal.NoEmergency;
        if (block.timestamp >= found.until) return Refusal.EmergencyOver;
        if (_accounts[patient].emergencyRefused) return Refusal.EmergencyRefused;
        if (category == 0) return Refusal.CategoryNotGranted;
        if (purpose != found.reason) return Refusal.PurposeNotGranted;
        return _whyNotEligible(organisation, category, EMERGENCY);
    }

    /// @inheritdoc IRecordAccess
    function emergencyOf(address patient) external view returns (bool allowed, uint40 version) {
        Account storage account = _accounts[patient];
        return (!account.emergencyRefused, account.emergencyVersion);
    }

    /// @inheritdoc IRecordAccess
    function emergencies(
        address organisation,
        address patient
    ) external view returns (uint32 reason, uint48 until, uint40 version) {
        Emergency memory found = _emergencies[organisation][patient];
        return (found.reason, found.until, found.version);
    }

    /// @inheritdoc IRecordAccess
    function brokenToday(address organisation) public view returns (uint256) {
        Day memory last = _days[organisation];
        return last.day == block.timestamp / 1 days ? last.count : 0;
    }
}
