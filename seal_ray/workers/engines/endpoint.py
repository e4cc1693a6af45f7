"""Self-edits written by another model: any OpenAI-compatible server, hosted or one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from seal_ray.endpoints.openai_client import ChatClient, NoSuchPath, Reply
from seal_ray.types import AdapterRef, Completion, Message, Prompt, SampleRequest, UserError

if TYPE_CHECKING:
    from seal_ray.adapters.lora import Adapter


class EndpointEngine:
    """Has a server write every completion. The policy does not live there, so its versions change nothing.

    Seeds and schemas are passed on; whether the server honours them is its own affair.
    """

    name = "endpoint"

    def __init__(self, client: ChatClient) -> None:
        self.client = client
        self._chat_only = False

    async def sample(self, request: SampleRequest) -> Completion:
        params: dict[str, Any] = {
            "seed": request.seed % 2**31,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "max_tokens": request.max_tokens,
        }
        if request.stop:
            params["stop"] = list(request.stop)
        if request.schema is not None:
            schema = {"name": "self_edit", "schema": request.schema}
            params["response_format"] = {"type": "json_schema", "json_schema": schema}
        reply = await self._reply(request.prompt, params)
        return Completion(reply.text, reply.completion_tokens, reply.finish_reason == "stop")

    async def hold(self, *adapters: Adapter) -> None:
        """Do nothing: the model behind the endpoint stays as it is."""

    async def log_probs(self, ids: Sequence[int], adapter: AdapterRef) -> list[float]:
        raise UserError("an endpoint gives no log-probabilities of a prompt; there is no policy there to check")

    async def close(self) -> None:
        await self.client.close()

    async def _reply(self, prompt: Prompt, params: dict[str, Any]) -> Reply:
        """A text is continued where the server can, and otherwise said as a user's turn."""
        if isinstance(prompt, str) and not self._chat_only:
            try:
                return await self.client.complete(prompt, **params)
            except NoSuchPath:
                self._chat_only = True
        turns = [Message("user", prompt)] if isinstance(prompt, str) else prompt
        return await self.client.chat(turns, **params)
