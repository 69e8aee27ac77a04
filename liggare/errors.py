"""Every error that Liggare raises on purpose.

    LiggareError                  exit code 1
    ├── UsageError                exit code 2: the caller's words are off (also a ValueError)
    │   ├── SettingsError         an environment variable or option has no usable value
    │   ├── InvalidAmount         an amount is not a number of the currency's units
    │   ├── InvalidAddress        an address is malformed or fails its checksum
    │   ├── SearchInvalid         a search of records that can't be meant
    │   ├── UnknownName           a name (category, purpose, role) that is not in its table
    │   ├── InvalidTerms          terms of a grant that can't be meant
    │   ├── SeedPhraseMalformed   not the words of a seed phrase
    │   ├── InvalidReadings       readings of a meter that no market could take
    │   ├── InvoiceMalformed      no invoice's URI, or what no invoice may say
    │   └── PayrollInvalid        lines of a payroll that can't be paid, all of them
    ├── ChainError                the chain or the way to it
    │   ├── ChainUnreachable      nothing answers at the RPC URL
    │   ├── WrongChain            a chain answers, but not the one that was asked for
    │   ├── ContractRefused       a contract reverted with a custom error, which this carries by name
    │   ├── TransactionUncertain  a transaction was sent, its receipt did not come in time
    │   └── LedgerUnavailable     what the ledger says at this moment can't be known, so nothing is decided
    │       └── LedgerForged      what the node shows is not what the hashes of its own blocks commit to
    ├── DeploymentError           the record of where the contracts are
    │   ├── DeploymentMissing     there is no record of this chain
    │   └── DeploymentMismatch    the record and the chain (or the sources) disagree
    ├── KeyFileError              an encrypted key file
    │   ├── KeyFileMissing        no such file
    │   ├── KeyFileMalformed      not a key file of the Web3 Secret Storage form
    │   └── WrongPassword         the file does not open with this password
    ├── SignatureError            a signature over a message
    │   ├── SignatureMalformed    not 65 bytes, bad v, r or s out of range, or s in the upper half
    │   └── WrongSigner           a good signature of somebody else
    ├── InvoiceError              an invoice that is not to be paid
    │   ├── InvoiceForeign        it asks for another money than the one here
    │   ├── InvoiceForAnother     it names another payer
    │   ├── InvoiceExpired        its time is over
    │   ├── InvoicePaid           somebody paid it
    │   └── InvoiceVoid           its payer's nonce was canceled or used otherwise
    ├── PayrollError              a payroll that is well-formed and can't go on
    │   ├── PayrollChanged        the run paid what its file does not hold any more
    │   └── PayrollUncovered      the payer has less than is still to be paid
    ├── AccessError               a read that the custodian's gatekeeper does not serve
    │   ├── SignInRefused         a sign-in is not taken, for a named reason
    │   ├── AccessRefused         the ledger does not let it, for a named reason
    │   ├── RecordUnavailable     the patient has no such record here
    │   ├── SessionEnded          nobody is signed in by this token (any more)
    │   ├── SessionsUnavailable   the sessions' database does not answer
    │   ├── GatekeeperRefused     a gatekeeper says no, for a named reason
    │   ├── GatekeeperUnreachable nothing answers at its URL, or nothing that can be understood
    │   └── PseudonymReused       a pseudonym has granted to another organisation than its own
    ├── AuditError                an access log that does not answer, or answers a patient with less than the truth
    │   ├── LogUnavailable        its database does not answer
    │   ├── LogUnposted           the custodian has posted no head of it
    │   ├── LogForked             it is not the one of which heads were posted or seen before
    │   ├── AccessHidden          fewer entries are shown than were counted
    │   ├── AccessRewritten       an entry is shown that is not the one that was posted
    │   └── ProofInvalid          what is shown is no proof, or one for another patient, custodian or chain
    ├── RelayError                the relayer
    │   ├── RelayRefused          it does not take a message, for a named reason
    │   ├── RelayUnreachable      nothing answers at its URL, or nothing that can be understood
    │   ├── RelayLied             it says of a message what the chain does not show
    │   ├── PaymentFailed         a payment that it took can't be made any more
    │   ├── PaymentUncertain      a payment that it took has not ended yet
    │   ├── MessageFailed         another message that it took can't be carried out any more
    │   ├── MessageUncertain      another message that it took has not landed yet
    │   └── OutboxUnavailable     its database does not answer
    ├── MarketError               the market's operator as a service
    │   ├── MarketRefused         it does not take a batch or a message, for a named reason
    │   ├── MarketUnreachable     nothing answers at its URL, or nothing that can be understood
    │   └── MarketUnavailable     its database does not answer
    ├── StoreError                a custodian's records at rest, or the keys to them
    │   ├── StoreUnavailable      their database does not answer
    │   ├── VersionConflict       a record is not at the version that its writer knows
    │   ├── RecordDamaged         a row is not what was written to it
    │   ├── MasterKeyRefused      no usable master key: missing, malformed or open to others
    │   ├── WrongMasterKey        the keyring was made with another master key
    │   └── KeyringDamaged        a file of the keyring is not what was written to it
    ├── DataError                 a file or an answer that is not of the form it must have
    │   ├── ResourceInvalid       no resource of FHIR R4
    │   ├── ConsentUnmappable     a FHIR Consent that says what no grant can
    │   ├── SealBroken            a sealed release is not for this key, or not what was sealed
    │   ├── LogDamaged            an access log's file is not what was written to it
    │   ├── SeriesMalformed       a table of load and generation that can't be meant
    │   └── DataMissing           a data set that can't be had here
    └── LedgerError               the ledger can't be read as a whole
        ├── IndexUnavailable      the index's database does not answer
        └── CheckpointError       a checkpoint that verification can't go on from
            ├── CheckpointDamaged     none, or one that was changed since it was signed
            ├── CheckpointOfAnother   somebody else signed it
            ├── CheckpointForeign     it is of another chain or deployment
            ├── CheckpointOutdated    it was made by other rules than these
            └── CheckpointReorged     the chain has another block in the place of its own

Contract errors arrive as `ContractRefused` with the Solidity name, so callers compare
`error.name == "PaymentsInsufficientBalance"` rather than text.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class LiggareError(Exception):
    """The root: catch this to catch all of them."""

    exit_code = 1

    @property
    def name(self) -> str:
        """The stable name, for machines."""
        return type(self).__name__


class UsageError(LiggareError, ValueError):
    """The caller asked for something that can't be understood."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting has no usable value; the text names it."""


class InvalidAmount(UsageError):
    """The text is no amount of the currency, or has more decimals than the currency."""


class InvalidAddress(UsageError):
    """The text is no address, or its checksum (ERC-55) is wrong."""


class UnknownName(UsageError):
    """The name is not in its table; `near` is the one that may be meant, or None."""

    def __init__(self, given: str, table: Iterable[str]) -> None:
        near = get_close_matches(given, list(table), n=1)
        super().__init__(f"there is no {given!r}" + (f"; is {near[0]!r} meant?" if near else ""))
        self.given, self.near = given, near[0] if near else None


class SearchInvalid(UsageError):
    """A search of records can't be meant; `parameter` names the one that is off, empty for the whole."""

    def __init__(self, parameter: str, words: str) -> None:
        super().__init__(f"{parameter}: {words}" if parameter else words)
        self.parameter = parameter


class InvalidTerms(UsageError):
    """The terms of a grant can't be meant: empty, or over before they begin."""


class SeedPhraseMalformed(UsageError):
    """The words are no BIP-39 seed phrase; the text never repeats them."""


class InvalidReadings(UsageError):
    """Readings that are cut off, padded, out of range, or not of the slots and homes that are due."""


class InvoiceMalformed(UsageError):
    """No invoice's URI, or an invoice of what can't be asked for; the text says what is off."""


class PayrollInvalid(UsageError):
    """Lines that can't be paid; `problems` has all of them as (line, what is off)."""

    def __init__(self, source: str, problems: list[tuple[int, str]]) -> None:
        told = "; ".join(f"line {line}: {problem}" for line, problem in problems)
        super().__init__(f"nothing of {source} is paid: {told}")
        self.problems = problems


class ChainError(LiggareError):
    """The chain, or the way to it, failed."""


class ChainUnreachable(ChainError, ConnectionError):
    """Nothing answers at the RPC URL."""

    def __init__(self, url: str, reason: str = "") -> None:
        super().__init__(f"no chain answers at {url}" + (f" ({reason})" if reason else ""))
        self.url = url


class WrongChain(ChainError):
    """The node serves another chain than the one asked for."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"chain {expected} was asked for, but the node serves chain {actual}")
        self.expected, self.actual = expected, actual


class ContractRefused(ChainError):
    """A contract reverted; `name` is its custom error's name and `arguments` its values by name."""

    def __init__(self, error: str, arguments: dict[str, Any] | None = None) -> None:
        self.error, self.arguments = error, arguments or {}
        plain = (
            (key, "0x" + value.hex() if isinstance(value, bytes) else value) for key, value in self.arguments.items()
        )
        values = ", ".join(f"{key} {value}" for key, value in plain)
        super().__init__(f"the contract refused: {error}" + (f" ({values})" if values else ""))

    @property
    def name(self) -> str:
        return self.error


class TransactionUncertain(ChainError):
    """A transaction was sent, but no receipt came in time: it may still land."""

    def __init__(self, transaction: str, seconds: float) -> None:
        super().__init__(f"no receipt of transaction {transaction} within {seconds:g} s; it may still land")
        self.transaction = transaction


class LedgerUnavailable(ChainError):
    """The node is down, behind, on another chain or contradicts itself: nothing may be decided; ask again later."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"what the ledger says now can't be known: {reason}")
        self.reason = reason


class LedgerForged(LedgerUnavailable):
    """What the node shows is not what the hashes of its own blocks commit to, or the chain changed meanwhile."""


class DeploymentError(LiggareError):
    """The record of where the contracts are can't be used."""


class DeploymentMissing(DeploymentError):
    """There is no record of this chain."""


class DeploymentMismatch(DeploymentError):
    """The record disagrees with the chain or with the sources of this release."""


class KeyFileError(LiggareError):
    """A key file can't be used."""


class KeyFileMissing(KeyFileError, FileNotFoundError):
    """There is no such key file."""


class KeyFileMalformed(KeyFileError):
    """The file is no Web3 Secret Storage key file."""


class WrongPassword(KeyFileError):
    """The key file does not open with this password."""


class SignatureError(LiggareError):
    """A signature can't be accepted."""


class SignatureMalformed(SignatureError):
    """Not 65 bytes of r, s, v with s in the lower half and v 27 or 28."""


class WrongSigner(SignatureError):
    """The signature is good, but another account made it."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"{expected} should have signed, {actual} did")
        self.expected, self.actual = expected, actual


class InvoiceError(LiggareError):
    """An invoice that is well-formed and still not to be paid."""


class InvoiceForeign(InvoiceError):
    """The invoice asks for a payment in another money than the one here."""

    def __init__(self, asked: str, here: str) -> None:
        super().__init__(f"the invoice is in the money at {asked}, the money here is at {here}")
        self.asked, self.here = asked, here


class InvoiceForAnother(InvoiceError):
    """The invoice names its payer, and that is somebody else."""

    def __init__(self, named: str, payer: str) -> None:
        super().__init__(f"the invoice is for {named} to pay, not for {payer}")
        self.named, self.payer = named, payer


class InvoiceExpired(InvoiceError):
    """The invoice could be paid before a time that is over."""

    def __init__(self, valid_before: int, now: int) -> None:
        super().__init__(f"the invoice could be paid before {valid_before}, and now it is {now}")
        self.valid_before, self.now = valid_before, now


class InvoicePaid(InvoiceError):
    """The invoice is paid already."""

    def __init__(self, payer: str, transaction: str) -> None:
        super().__init__(f"{payer} paid the invoice in transaction {transaction}")
        self.payer, self.transaction = payer, transaction


class InvoiceVoid(InvoiceError):
    """The payer canceled the invoice's nonce or used it for something else: it can't pay this invoice any more."""

    def __init__(self, payer: str) -> None:
        super().__init__(f"{payer} gave the invoice's nonce up or used it otherwise; ask for a new invoice")
        self.payer = payer


class PayrollError(LiggareError):
    """A payroll can't go on as its file and the chain are."""


class PayrollChanged(PayrollError):
    """The chain shows a payment of this run that is not in the file (any more)."""

    def __init__(self, run: str, value: str, payee: str) -> None:
        super().__init__(
            f"run {run!r} paid {value} to {payee}, which the file does not hold; put the row back or name another run"
        )
        self.run, self.value, self.payee = run, value, payee


class PayrollUncovered(PayrollError):
    """The payer has less than is still to be paid; nothing was."""

    def __init__(self, needed: str, balance: str) -> None:
        super().__init__(f"{needed} are still to be paid, the payer has {balance}; nothing was paid now")
        self.needed, self.balance = needed, balance


class AccessError(LiggareError):
    """A read that the gatekeeper does not serve."""


class SignInRefused(AccessError):
    """A sign-in is not taken; `reason` is a stable name. The text repeats nothing that could tell of a patient."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason = reason

    @property
    def name(self) -> str:
        return self.reason


class AccessRefused(AccessError):
    """The ledger does not let the grantee read this; `reason` is IRecordAccess.Refusal by name.

    It depends on the request and the ledger alone, never on which records there are.
    """

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(f"access refused: {words}")
        self.reason = reason


class RecordUnavailable(AccessError):
    """The patient has no such record here: there is none, or it is somebody else's. Which, is not told."""


class SessionEnded(AccessError):
    """Nobody is signed in by this token: it never was one, or it was ended, or its sign-in expired."""


class SessionsUnavailable(AccessError):
    """The database of sessions does not answer."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the sessions' database does not answer ({reason})")


class GatekeeperRefused(AccessError):
    """A gatekeeper says no; `reason` is its stable name for it, `status` the HTTP status."""

    def __init__(self, reason: str, words: str, status: int) -> None:
        super().__init__(f"the gatekeeper refuses: {words.removeprefix('access refused: ')} ({reason})")
        self.reason, self.status = reason, status

    @property
    def name(self) -> str:
        return self.reason


class GatekeeperUnreachable(AccessError, ConnectionError):
    """No gatekeeper answers at the URL, or what answers is none."""


class PseudonymReused(AccessError):
    """Something was granted under a pseudonym that is not for its own organisation: it links the two."""

    def __init__(self, patient: str, organisation: str) -> None:
        super().__init__(
            f"the pseudonym {patient} of {organisation} has granted to another as well: the two can tell that it is one"
            " patient; take another by --number"
        )
        self.patient, self.organisation = patient, organisation


class AuditError(LiggareError):
    """An access log that does not answer, or that answers with less than the truth."""


class LogUnavailable(AuditError):
    """The access log's database does not answer; nothing may be released on an entry that was not taken."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the access log's database does not answer ({reason})")
        self.reason = reason


class LogUnposted(AuditError):
    """The custodian has posted no head of its access log, so nothing that it shows can be proven yet.

    `shown` is what it shows all the same, as `liggare.records.accesses` has it: each with its reader's signature, but
    one that is left out would not be missed.
    """

    def __init__(self, custodian: str, shown: Iterable[Any] = ()) -> None:
        self.custodian, self.shown = custodian, list(shown)
        many = f"the {len(self.shown)} accesses shown" if len(self.shown) != 1 else "the one access shown"
        told = f"{many} may not be all" if self.shown else "it shows no access"
        super().__init__(
            f"{custodian} has posted no head of its access log yet; {told}. A gatekeeper posts the first head within"
            " ten minutes of the first access, unless its custodian chose another time: ask again then"
        )


class LogForked(AuditError):
    """The access log is not the one whose heads were posted, or does not go on from one that was seen before."""


class AccessHidden(AuditError):
    """Fewer entries are shown than the log counts for the patient, or a shorter log than was posted."""


class AccessRewritten(AuditError):
    """An entry is shown that is not the one under the posted head, or that its reader did not sign."""


class ProofInvalid(AuditError):
    """What is shown is not of the form of a proof, or is one for another patient, custodian or chain."""


class RelayError(LiggareError):
    """The relayer, or the way to it, failed."""


class RelayRefused(RelayError):
    """It does not take a message; `reason` is a name of `liggare.relay.refusals`, `values` what was compared."""

    def __init__(self, reason: str, words: str, **values: Any) -> None:
        super().__init__(words)
        self.reason, self.values = reason, values

    @property
    def name(self) -> str:
        return self.reason


class RelayUnreachable(RelayError, ConnectionError):
    """No relayer answers at the URL, or what answers is none."""


class RelayLied(RelayError):
    """The relayer says of a message what the chain does not show."""


class PaymentFailed(RelayError):
    """A payment that the relayer took was not made, and the chain bears it out; `reason` is the contract's word."""

    def __init__(self, payment: str, reason: str) -> None:
        super().__init__(f"payment {payment} failed: {reason}; nothing was paid")
        self.payment, self.reason = payment, reason


class PaymentUncertain(RelayError):
    """A payment was handed over and has no end yet: until it expires it may still be made."""

    def __init__(self, payment: str, valid_before: int) -> None:
        super().__init__(
            f"payment {payment} has not ended yet and may still be made before {valid_before} (unix time):"
            " don't pay again before then"
        )
        self.payment, self.valid_before = payment, valid_before


class MessageFailed(RelayError):
    """A message that the relayer took did not land, and the chain bears out that it can't now; `reason` is its word."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(f"message {message} was not carried out: {reason}")
        self.message, self.reason = message, reason


class MessageUncertain(RelayError):
    """A message was handed over and has not landed: nothing has changed yet, and until its deadline it still may."""

    def __init__(self, message: str, deadline: int) -> None:
        super().__init__(
            f"message {message} has not landed: nothing has changed yet. The relayer may carry it until {deadline}"
            " (unix time); any carrier can take the same message to the chain now"
        )
        self.message, self.deadline = message, deadline


class OutboxUnavailable(RelayError):
    """The relayer's database does not answer. Asking again is safe, also where it went away while it wrote."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the outbox's database does not answer ({reason})")


class StoreError(LiggareError):
    """A custodian's records at rest, or the keys to them, can't be used."""


class StoreUnavailable(StoreError):
    """The records' database does not answer; nothing was half-done."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the records' database does not answer ({reason})")


class VersionConflict(StoreError):
    """A record is at another version than its writer expected; 0 stands for no record. Nothing was written."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"version {expected} was expected, the record is at {actual}")
        self.expected, self.actual = expected, actual


class RecordDamaged(StoreError):
    """A row does not open: it was altered or moved, or its key is gone. Its patient is not named."""


class MasterKeyRefused(StoreError):
    """There is no master key where one should be, it is malformed, or others may read its file."""


class WrongMasterKey(StoreError):
    """The keyring was made with another master key."""


class KeyringDamaged(StoreError):
    """A file of the keyring is not what was written to it, or is missing."""


class MarketError(LiggareError):
    """The market's operator, or the way to it, failed."""


class MarketRefused(MarketError):
    """It does not take this; `reason` is a name of `liggare.energy.refusals`, `values` what was compared."""

    def __init__(self, reason: str, words: str, **values: Any) -> None:
        super().__init__(words)
        self.reason, self.values = reason, values

    @property
    def name(self) -> str:
        return self.reason


class MarketUnreachable(MarketError, ConnectionError):
    """No operator of a market answers at the URL, or what answers is none."""


class MarketUnavailable(MarketError):
    """The operator's database does not answer. Asking again is safe, also where it went away while it wrote."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the market's database does not answer ({reason})")


class DataError(LiggareError):
    """A file or an answer is not of the form it must have."""


class ResourceInvalid(DataError):
    """No resource of FHIR R4; `path` is the element that is off ("" for the whole). The text repeats no value."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or 'the resource'}: {problem}")
        self.path, self.problem = path, problem


class ConsentUnmappable(DataError):
    """A FHIR Consent says what no grant can; `reason` is a stable name, `path` the element."""

    def __init__(self, reason: str, path: str, words: str) -> None:
        super().__init__(f"{path}: {words}")
        self.reason, self.path = reason, path


class SealBroken(DataError):
    """A sealed release does not open: it is for another key or use, or was altered. Which, can't be told."""


class LogDamaged(DataError):
    """An access log's file is not what was written to it."""


class SeriesMalformed(DataError):
    """A table of load and generation can't be meant; the text names the file, the line and what is off."""

    def __init__(self, path: Any, line: int, reason: str) -> None:
        super().__init__(f"{path}, line {line}: {reason}")
        self.path, self.line = path, line


class DataMissing(DataError):
    """A data set is not here and can't be had either; the text says which and why."""


class LedgerError(LiggareError):
    """The ledger can't be read as a whole, so nothing may be concluded from it."""


class IndexUnavailable(LedgerError):
    """The database of the ledger's index does not answer; `reason` is the driver's own word."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the index's database does not answer ({reason})")
        self.reason = reason


class CheckpointError(LedgerError):
    """Verification can't go on from this checkpoint: verify from the start."""


class CheckpointDamaged(CheckpointError):
    """The file is no checkpoint, or was changed since it was signed; the text says which part is off."""

    def __init__(self, path: Any, words: str) -> None:
        super().__init__(f"{path} is no checkpoint to go on from: {words}")
        self.path = path


class CheckpointOfAnother(CheckpointError):
    """Another than the one whose checkpoints are taken here signed it."""

    def __init__(self, path: Any, expected: str, actual: str) -> None:
        super().__init__(f"the checkpoint {path} is {actual}'s, not {expected}'s")
        self.path, self.expected, self.actual = path, expected, actual


class CheckpointForeign(CheckpointError):
    """The checkpoint is of another chain, or of other contracts than those on record."""

    def __init__(self, path: Any, told: int, here: int) -> None:
        where = f"chain {told}, not {here}" if told != here else f"another chain {here}, or of other contracts on it"
        super().__init__(f"the checkpoint {path} is of {where}")
        self.path, self.told, self.here = path, told, here


class CheckpointOutdated(CheckpointError):
    """Another release's rules made the checkpoint; what they know may not be what these would."""

    def __init__(self, path: Any) -> None:
        super().__init__(f"the checkpoint {path} was made by the rules of another release; verify from the start")
        self.path = path


class CheckpointReorged(CheckpointError):
    """The chain has another block, or none, where the checkpoint was made."""

    def __init__(self, block: int) -> None:
        super().__init__(
            f"the chain has another block {block} than when the checkpoint was made; verify from the start"
        )
        self.block = block
