"""Signing in at the gatekeeper: nonces, tokens, and the end of a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from liggare.messages import address
from liggare.records.desk import Desk
from liggare.records.sessions import NONCE_LIFETIME
from liggare.records.signin import LONGEST, STATEMENT
from liggare.web.refusals import UNKEPT, Refuse, oauth

__all__ = ["Serve", "routes", "shown_token"]


class Serve(Protocol):
    """Does the work of one request; whatever goes wrong becomes a refusal."""

    def __call__(self, asked: str, work: Callable[[], Response], refuse: Refuse) -> Response:
        """Return the response."""


class NonceRequest(BaseModel):
    """Who wants to sign in."""

    address: Annotated[str, Field(max_length=42)]


class TokenRequest(BaseModel):
    """A signed sign-in, and the documents of the shares that it names."""

    message: Annotated[str, Field(max_length=20_000)]
    signature: Annotated[str, Field(pattern="^0x([0-9a-fA-F]{2}){0,4096}$")]
    shares: list[dict[str, Any]] = []


def routes(app: FastAPI, desk: Desk, serve: Serve) -> None:
    """Add the routes of signing in."""

    @app.post("/auth/nonce")
    def nonce(asked: NonceRequest) -> Response:
        """Give a nonce to one reader, and all that its sign-in has to say of this custodian."""

        def work() -> Response:
            door = desk.door
            return JSONResponse(
                {
                    "nonce": desk.sessions.nonce(address(asked.address)),
                    "expires_in": NONCE_LIFETIME,
                    "domain": door.domain,
                    "uri": door.url,
                    "chainId": door.chain_id,
                    "custodian": door.custodian,
                    "statement": STATEMENT,
                    "longest": LONGEST,
                },
                headers=UNKEPT,
            )

        return serve("nonce", work, oauth)

    @app.post("/auth/token")
    def token(given: TokenRequest) -> Response:
        """Take a sign-in and give a token for as long as it says, with the scopes that the ledger lets."""

        def work() -> Response:
            made = desk.sign_in(given.message, bytes.fromhex(given.signature[2:]), given.shares)
            answer = {
                "access_token": made.token,
                "token_type": "Bearer",
                "expires_in": made.lifetime,
                "scope": " ".join(made.scopes),
            }
            return JSONResponse({**answer, **({"patient": made.patient} if made.patient else {})}, headers=UNKEPT)

        return serve("token", work, oauth)

    @app.post("/auth/revoke")
    def revoke(request: Request) -> Response:
        """End the session of the token that is shown; one that is none has ended already."""

        def work() -> Response:
            desk.sessions.end(shown_token(request) or "")
            return Response(status_code=200, headers=UNKEPT)

        return serve("revoke", work, oauth)


def shown_token(request: Request) -> str | None:
    """Return the token that a request shows, if any."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
