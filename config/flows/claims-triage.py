"""Claims triage for real Langflow runtimes: only stock components, no model, no network.

Export it with hack/runtime/export-flow.py. An export embeds the library's component code, so it is built
where it is needed and never committed.
"""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.components.models_and_agents import PromptComponent
from lfx.components.processing.regex import RegexExtractorComponent
from lfx.graph import Graph

claim = ChatInput(_id="ChatInput-claim")
# Nothing is kept between runs: the messages of a run are told in its stream and stored nowhere else.
claim.set(should_store_message=False)

amounts = RegexExtractorComponent(_id="RegexExtractor-amounts")
amounts.set(input_text=claim.message_response, pattern=r"\d+(?:\.\d+)? ?(?:EUR|USD)")

note = PromptComponent(_id="Prompt-answer")
note.set(
    template="Claim: {claim}\nAmounts named: {amounts}",
    claim=claim.message_response,
    amounts=amounts.get_matches_text,
)

answer = ChatOutput(_id="ChatOutput-answer")
answer.set(input_value=note.build_prompt)

graph = Graph(claim, answer)
