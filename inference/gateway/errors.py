"""The gateway's one table of refusals: status, code and wording of every error a client can see from the data plane.

The bodies are API.md's: four keys, always present. What an engine says is reshaped in `engine_errors`.
"""

from __future__ import annotations

import msgspec

RETRY_AFTER_S = 2


class ApiError(Exception):
    """A request's end that the client is told of."""

    permanent = True

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.kind = kind
        self.param = param
        self.headers = headers

    def fields(self) -> dict[str, str | None]:
        """The inside of the error object."""
        return {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}

    def body(self) -> bytes:
        """The JSON body of an error answer."""
        return msgspec.json.encode({"error": self.fields()})

    def event(self) -> bytes:
        """The one last event of a stream that fails; `choices` is there for clients that index it."""
        return b"data: " + msgspec.json.encode({"error": self.fields(), "choices": []}) + b"\n\n"


def unpaid(quota: ApiError) -> ApiError:
    """A budget that is used up, as DeepSeek's clients are told of it."""
    return ApiError(402, quota.code, quota.message, kind=quota.kind, headers=quota.headers)


def bad_field(param: str | None, message: str) -> ApiError:
    """400 that names the field at fault."""
    return ApiError(400, None, message, param=param)


def malformed(message: str) -> ApiError:
    """400 for a body that can't be read at all."""
    return ApiError(400, None, message)


def context_too_long(limit: int, prompt: str, answer: int, param: str) -> ApiError:
    """400 for a prompt, or a prompt and the asked answer, over the limit; `prompt` may say "at least"."""
    asked = f" and {answer} were asked for the answer" if answer else ""
    return ApiError(
        400,
        "context_length_exceeded",
        f"The context limit is {limit} tokens, but the prompt has {prompt} tokens{asked}.",
        param=param,
    )


def superseded() -> ApiError:
    """400 for a request that a newer one of the same editor session took the place of; never a 409, which clients
    send again.
    """
    return ApiError(
        400, "superseded", "A newer request of this session took its place.", headers=(("x-should-retry", "false"),)
    )


def invalid_key() -> ApiError:
    """401, one body for missing, unknown, expired and revoked keys."""
    return ApiError(
        401,
        "invalid_api_key",
        "Missing or invalid API key.",
        kind="authentication_error",
        headers=(("www-authenticate", "Bearer"),),
    )


def model_not_allowed() -> ApiError:
    """403 for a model that exists and that the key's plan leaves out."""
    return ApiError(
        403,
        "model_not_allowed",
        "The plan of this key does not include this model.",
        kind="permission_error",
        param="model",
    )


def model_not_found() -> ApiError:
    """404, one body for unknown models and for those of others; the name is not repeated."""
    return ApiError(404, "model_not_found", "The model does not exist or you have no access to it.", param="model")


def alias_of_nothing(name: str, to: str) -> ApiError:
    """404 for an alias of the key's own tenant whose model is withdrawn or served no longer."""
    told = (
        f"The alias {name} stands for {to}, which is not served. An owner of the tenant can have it stand for another."
    )
    return ApiError(404, "model_not_found", told, param="model")


def not_found() -> ApiError:
    """404 for a path that leads nowhere."""
    return ApiError(404, None, "There is nothing at this address.")


def wrong_method(allowed: str) -> ApiError:
    """405 with what is allowed."""
    return ApiError(405, None, f"This address takes {allowed}.", headers=(("allow", allowed),))


def too_large(limit_bytes: int) -> ApiError:
    """413 before the body is read."""
    return ApiError(413, "request_too_large", f"The request body is over the limit of {limit_bytes} bytes.")


def overloaded(
    message: str = "No replica of this model is ready. Try again shortly.", retry_after_s: int = RETRY_AFTER_S
) -> ApiError:
    """503 with Retry-After."""
    return ApiError(503, "overloaded", message, kind="server_error", headers=(("retry-after", str(retry_after_s)),))


def internal() -> ApiError:
    """500 for a fault of the gateway's own."""
    return ApiError(500, "internal_error", "The request could not be processed.", kind="server_error")


def engine_failed() -> ApiError:
    """502 for an engine that answered with a fault of its own."""
    return ApiError(502, "engine_error", "The engine failed to answer this request.", kind="server_error")


def engine_lost() -> ApiError:
    """What a stream is told when its engine went away under it."""
    return ApiError(502, "engine_lost", "The engine went away before the answer was complete.", kind="server_error")


def draining() -> ApiError:
    """What a stream is told when the gateway stops and its time is up."""
    return overloaded("The service is stopping. Try again shortly.")


def address_too_long() -> ApiError:
    """414 for a target that no address has."""
    return ApiError(414, None, "The request's address is too long.")


def expectation_failed() -> ApiError:
    """417 for any expectation but `100-continue`."""
    return ApiError(417, None, "This expectation can't be met.")


def head_too_large(part: str) -> ApiError:
    """431 for a header or a trailer beyond its bounds."""
    return ApiError(431, None, f"The request's {part} is too large.")


def timed_out() -> ApiError:
    """408 for a request that did not arrive in time."""
    return ApiError(408, None, "The request did not arrive in time.")
