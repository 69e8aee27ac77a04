// What of the contracts' interfaces the checks read; a test compares it with the contracts.
import { parseAbi } from "viem";

export const MONEY = [
  "event Transfer(address indexed from, address indexed to, uint256 value)",
  "event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce)",
  "function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, uint8 v, bytes32 r, bytes32 s)",
  "function transferWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature)",
  "function receiveWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, uint8 v, bytes32 r, bytes32 s)",
  "function receiveWithAuthorization(address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature)",
  "function payBatch(bytes batch) returns (bytes outcomes)",
  "function transfer(address to, uint256 value) returns (bool)",
  "function mint(address to, uint256 value)",
  "function authorizationState(address authorizer, bytes32 nonce) view returns (bool)",
  "function name() view returns (string)",
  "function issuer() view returns (address)",
  "function DOMAIN_SEPARATOR() view returns (bytes32)",
];

/** Other contracts that are paid by one signature, each for its own purpose. */
export const PAID = [
  "function deposit(uint256 home, address from, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 salt, bytes signature)",
  "function fund((address buyer, address seller, address arbiter, uint256 value, uint256 claimAfter, uint256 reclaimAfter, bytes32 orderHash) purchase, uint256 validAfter, uint256 validBefore, bytes signature, bytes offer)",
];

export const MARKET = [
  "event HomeRegistered(uint256 indexed home, address indexed owner, address indexed meter, uint256 imported, uint256 exported, uint256 fromSlot)",
  "event MeterReplaced(uint256 indexed home, address indexed meter, uint256 fromSlot, uint256 counters, uint256 last)",
  "event HomeMovedOut(uint256 indexed home, uint256 fromSlot, uint256 last)",
  "event OrderPlaced(uint256 indexed home, bytes32 indexed id, uint256 seq, uint256 fromSlot, uint256 untilSlot, uint256 buyLimit, uint256 sellLimit, uint256 cap)",
  "event Deposited(uint256 indexed home, address indexed from, uint256 value, bytes32 nonce)",
  "event Withdrawn(uint256 indexed home, address indexed to, uint256 value, bytes32 indexed id)",
  "event ReadingsPosted(uint256 indexed home, uint256 indexed firstSlot, uint256 imported, uint256 exported, bytes deltas)",
  "event ReadingsTaken(uint256 indexed firstSlot, uint256 count, uint256 homes, bytes readings)",
  "event ReadingMissing(uint256 indexed home, uint256 indexed firstSlot, uint256 count)",
  "event SlotCleared(uint256 indexed slot, uint256 price, uint256 lo, uint256 hi, uint256 volume)",
  "event FeedInUnpaid(uint256 indexed slot, uint256 unpaid)",
  "event SlotsClosed(uint256 indexed firstSlot, uint256 nextSlot)",
  "function retail() view returns (uint256)",
  "function feedIn() view returns (uint256)",
  "function gridFee() view returns (uint256)",
  "function nextSlot() view returns (uint256)",
  "function homeCount() view returns (uint256)",
  "function debt() view returns (uint256)",
  "function balanceOf(uint256 home) view returns (int256)",
  "function countersOf(uint256 home) view returns (uint256 imported, uint256 exported)",
  "function orderOf(uint256 home, uint256 slot) view returns (uint256 seq, uint256 untilSlot, uint256 buyLimit, uint256 sellLimit, uint256 cap)",
  "function DOMAIN_SEPARATOR() view returns (bytes32)",
];

export const RECORDS = [
  "event LogHeadPosted(address indexed custodian, bytes32 predecessor, uint64 size, bytes32 head)",
  "function logHeads(address custodian) view returns (bytes32)",
];

export const money = parseAbi(MONEY);
export const paid = parseAbi(PAID);
export const market = parseAbi(MARKET);
export const records = parseAbi(RECORDS);
