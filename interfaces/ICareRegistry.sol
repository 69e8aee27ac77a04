// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @title The organisations that may be granted access to records
/// @notice Who is accredited, as what, for which kinds of records and how long. One accreditor keeps the list, in
/// public: all that it does is in the events. It can't grant access to anything, it only bounds what patients can.
///
/// Roles are bits: provider 1, insurer 2, research 4, emergency 8. Categories are bits too, one for each FHIR resource
/// type, by the fixed table in `liggare/records/categories.py`; here only three matter: Claim is bit 1, Coverage
/// bit 2, ExplanationOfBenefit bit 3.
/// @dev What is said here bites at once, on grants that stand as well: RecordAccess asks at each read. Nobody but the
/// accreditor writes here, and no patient is ever named.
interface ICareRegistry {
    /// @notice An organisation, in one storage slot:
    ///
    ///     bits 184..121  categories
    ///     bits 120..73   validFrom
    ///     bits  72..25   validUntil
    ///     bits  24..9    breakGlassQuota
    ///     bits   8..1    roles
    ///     bit    0       suspended
    ///
    /// @param categories the most that it may ever be granted, a bit per FHIR resource type
    /// @param validFrom unix time from which, inclusive, it is accredited
    /// @param validUntil unix time until which, exclusive, it is accredited; 0 only for one that never was
    /// @param breakGlassQuota how many emergency accesses its staff may make in a day
    /// @param roles bits: provider 1, insurer 2, research 4, emergency 8
    /// @param suspended the accreditor has suspended it, until it resumes it
    struct Organisation {
        uint64 categories;
        uint48 validFrom;
        uint48 validUntil;
        uint16 breakGlassQuota;
        uint8 roles;
        bool suspended;
    }

    /// @notice How an organisation stands now; the first that holds, from the top.
    enum Standing {
        NotAccredited,
        Suspended,
        NotYetValid,
        Expired,
        Good
    }

    // ------------------------------------------------------------------ errors

    /// @notice Only the accreditor may do this; `caller` tried.
    error CareCallerNotAccreditor(address caller, address accreditor);
    /// @notice The role can't go to this address: nobody could suspend an organisation any more.
    error CareInvalidAccreditor(address accreditor);
    /// @notice The zero address is no organisation.
    error CareInvalidOrganisation(address organisation);
    /// @notice Roles are one or more of the `known` bits.
    error CareInvalidRoles(uint8 roles, uint8 known);
    /// @notice The accreditation must end after it begins.
    error CareInvalidValidity(uint48 validFrom, uint48 validUntil);
    /// @notice An insurer can never be granted more than claims, coverage and explanations of benefit, `allowed`.
    error CareBeyondInsurerCap(uint64 categories, uint64 allowed);
    /// @notice Who was accredited as an insurer stays one: `roles` lacks the bit that `hadRoles` has.
    error CareInsurerForLife(uint8 roles, uint8 hadRoles);
    /// @notice The organisation was never accredited.
    error CareNotAccredited(address organisation);
    /// @notice The organisation's suspended flag is `suspended` already.
    error CareSuspensionUnchanged(address organisation, bool suspended);

    // ------------------------------------------------------------------ events

    /// @notice An organisation was accredited, or its accreditation renewed or changed. A suspension stays.
    /// @param slot all that is said of it, in the word stored, as drawn at Organisation
    event Accredited(address indexed organisation, bytes32 slot);
    /// @notice An organisation may read nothing from now on, whatever it was granted.
    event Suspended(address indexed organisation);
    /// @notice A suspension ended.
    event Resumed(address indexed organisation);
    /// @notice The accrediting role went from `previousAccreditor` to `newAccreditor`.
    event AccreditorChanged(address indexed previousAccreditor, address indexed newAccreditor);

    // ------------------------------------------------------------------ accrediting

    /// @notice Accredit an organisation, or renew or change its accreditation. Only the accreditor.
    /// @dev An insurer's `categories` can't exceed claims, coverage and explanation of benefit, and an insurer can't be
    /// accredited as anything else instead: an organisation that also treats patients does so from another address,
    /// with a cap of its own. A suspension outlives a renewal.
    /// @param organisation its address: what it signs read requests with
    /// @param roles bits: provider 1, insurer 2, research 4, emergency 8
    /// @param categories the most that it may be granted; 0 for one that only posts (an archive)
    /// @param validFrom unix time, inclusive
    /// @param validUntil unix time, exclusive
    /// @param breakGlassQuota emergency accesses a day
    function accredit(
        address organisation,
        uint8 roles,
        uint64 categories,
        uint48 validFrom,
        uint48 validUntil,
        uint16 breakGlassQuota
    ) external;

    /// @notice Let an organisation read nothing any more, whatever it was granted. Only the accreditor.
    function suspend(address organisation) external;

    /// @notice End a suspension. Only the accreditor.
    function resume(address organisation) external;

    /// @notice Hand the accrediting role on. Only the accreditor.
    function changeAccreditor(address newAccreditor) external;

    // ------------------------------------------------------------------ views

    /// @notice Who accredits.
    function accreditor() external view returns (address);

    /// @notice The organisation as it was accredited last; all zero for one that never was.
    function organisations(address organisation) external view returns (Organisation memory);

    /// @notice How the organisation stands at this block, as what, and the most that it may be granted.
    /// @return standing only `Good` lets it read or anchor
    /// @return roles its role bits, whatever its standing
    /// @return categories its cap, whatever its standing
    function standingOf(
        address organisation
    ) external view returns (Standing standing, uint8 roles, uint64 categories);
}
