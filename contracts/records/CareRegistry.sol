// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICareRegistry} from "../../interfaces/ICareRegistry.sol";

/// @title The organisations that may be granted access to records
/// @notice See ICareRegistry for what each action promises.
contract CareRegistry is ICareRegistry {
    // ------------------------------------------------------------------ constants

    uint8 private constant INSURER = 2;
    uint8 private constant KNOWN_ROLES = 15;

    /// @dev Claim (bit 1), Coverage (bit 2) and ExplanationOfBenefit (bit 3).
    uint64 private constant INSURER_CAP = 14;

    // ------------------------------------------------------------------ storage

    /// @inheritdoc ICareRegistry
    address public accreditor;

    /// @dev One slot each; written by the accreditor only, never deleted.
    mapping(address organisation => Organisation) private _organisations;

    // ------------------------------------------------------------------ constructor

    /// @param accreditor_ who accredits
    constructor(address accreditor_) {
        if (accreditor_ == address(0)) revert CareInvalidAccreditor(accreditor_);
        accreditor = accreditor_;
        emit AccreditorChanged(address(0), accreditor_);
    }

    // ------------------------------------------------------------------ accrediting

    /// @inheritdoc ICareRegistry
    function accredit(
        address organisation,
        uint8 roles,
        uint64 categories,
        uint48 validFrom,
        uint48 validUntil,
        uint16 breakGlassQuota
    ) external {
        _checkAccreditor();
        Organisation memory had = _organisations[organisation];
        if (organisation == address(0)) revert CareInvalidOrganisation(organisation);
        if (roles == 0 || roles > KNOWN_ROLES) revert CareInvalidRoles(roles, KNOWN_ROLES);
        if (validFrom >= validUntil) revert CareInvalidValidity(validFrom, validUntil);
        if (had.roles & INSURER & ~roles != 0) revert CareInsurerForLife(roles, had.roles);
        if (roles & INSURER != 0 && categories & ~INSURER_CAP != 0)
            revert CareBeyondInsurerCap(categories, INSURER_CAP);
        _organisations[organisation] = Organisation(
            categories,
            validFrom,
            validUntil,
            breakGlassQuota,
            roles,
            had.suspended
        );
        emit Accredited(organisation, roles, categories, validFrom, validUntil, breakGlassQuota);
    }

    /// @inheritdoc ICareRegistry
    function suspend(address organisation) external {
        _setSuspended(organisation, true);
        emit Suspended(organisation);
    }

    /// @inheritdoc ICareRegistry
    function resume(address organisation) external {
        _setSuspended(organisation, false);
        emit Resumed(organisation);
    }

    /// @inheritdoc ICareRegistry
    function changeAccreditor(address newAccreditor) external {
        _checkAccreditor();
        if (newAccreditor == address(0)) revert CareInvalidAccreditor(newAccreditor);
        emit AccreditorChanged(accreditor, newAccreditor);
        accreditor = newAccreditor;
    }

    // ------------------------------------------------------------------ internal

    function _setSuspended(address organisation, bool suspended) private {
        _checkAccreditor();
        Organisation storage found = _organisations[organisation];
        if (found.validUntil == 0) revert CareNotAccredited(organisation);
        if (found.suspended == suspended) revert CareSuspensionUnchanged(organisation, suspended);
        found.suspended = suspended;
    }

    function _checkAccreditor() private view {
        if (msg.sender != accreditor) revert CareCallerNotAccreditor(msg.sender, accreditor);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc ICareRegistry
    function organisations(address organisation) external view returns (Organisation memory) {
        return _organisations[organisation];
    }

    /// @inheritdoc ICareRegistry
    function standingOf(
        address organisation
    ) external view returns (Standing standing, uint8 roles, uint64 categories) {
        Organisation memory found = _organisations[organisation];
        return (_standing(found), found.roles, found.categories);
    }

    function _standing(Organisation memory found) private view returns (Standing) {
        if (found.validUntil == 0) return Standing.NotAccredited;
        if (found.suspended) return Standing.Suspended;
        if (block.timestamp < found.validFrom) return Standing.NotYetValid;
        if (block.timestamp >= found.validUntil) return Standing.Expired;
        return Standing.Good;
    }
}
