// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ICareRegistry} from "../../interfaces/ICareRegistry.sol";

/// @title The organisations that may be granted access to records
/// @notice See ICareRegistry for what each action promises.
contract CareRegistry is ICareRegistry {
    // ------------------------------------------------------------------ constants

    uint8 private constant INSURER = 2;
    uint8 private constant KNOWN_ROLES = 15;
    uint256 private constant SUSPENDED = 1;

    /// @dev Claim (bit 1), Coverage (bit 2) and ExplanationOfBenefit (bit 3).
    uint64 private constant INSURER_CAP = 14;

    // ------------------------------------------------------------------ storage

    /// @inheritdoc ICareRegistry
    address public accreditor;

    /// @dev One slot each, as ICareRegistry draws it; written by the accreditor only, never deleted. Packed by hand:
    /// Solidity would write it field by field.
    mapping(address organisation => uint256 slot) private _organisations;

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
        uint256 had = _organisations[organisation];
        if (organisation == address(0)) revert CareInvalidOrganisation(organisation);
        if (roles == 0 || roles > KNOWN_ROLES) revert CareInvalidRoles(roles, KNOWN_ROLES);
        if (validFrom >= validUntil) revert CareInvalidValidity(validFrom, validUntil);
        if (_roles(had) & INSURER & ~roles != 0) revert CareInsurerForLife(roles, _roles(had));
        if (roles & INSURER != 0 && categories & ~INSURER_CAP != 0)
            revert CareBeyondInsurerCap(categories, INSURER_CAP);
        uint256 slot =
            (uint256(categories) << 121) |
                (uint256(validFrom) << 73) |
                (uint256(validUntil) << 25) |
                (uint256(breakGlassQuota) << 9) |
                (uint256(roles) << 1) |
                (had & SUSPENDED);
        _organisations[organisation] = slot;
        emit Accredited(organisation, bytes32(slot));
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
        uint256 had = _organisations[organisation];
        if (had == 0) revert CareNotAccredited(organisation);
        if ((had & SUSPENDED != 0) == suspended) revert CareSuspensionUnchanged(organisation, suspended);
        _organisations[organisation] = had ^ SUSPENDED;
    }

    function _roles(uint256 slot) private pure returns (uint8) {
        return uint8(slot >> 1);
    }

    function _unpack(uint256 slot) private pure returns (Organisation memory) {
        return
            Organisation({
                categories: uint64(slot >> 121),
                validFrom: uint48(slot >> 73),
                validUntil: uint48(slot >> 25),
                breakGlassQuota: uint16(slot >> 9),
                roles: _roles(slot),
                suspended: slot & SUSPENDED != 0
            });
    }

    function _checkAccreditor() private view {
        if (msg.sender != accreditor) revert CareCallerNotAccreditor(msg.sender, accreditor);
    }

    // ------------------------------------------------------------------ views

    /// @inheritdoc ICareRegistry
    function organisations(address organisation) external view returns (Organisation memory) {
        return _unpack(_organisations[organisation]);
    }

    /// @inheritdoc ICareRegistry
    function standingOf(
        address organisation
    ) external view returns (Standing standing, uint8 roles, uint64 categories) {
        Organisation memory found = _unpack(_organisations[organisation]);
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
