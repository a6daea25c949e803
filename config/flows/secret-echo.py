"""What no flow should do: it prints a secret. The real-runtime suites prove with it that the runner scrubs."""

from lfx.components.input_output import ChatInput, ChatOutput, TextInputComponent
from lfx.components.models_and_agents import PromptComponent
from lfx.graph import Graph

question = ChatInput(_id="ChatInput-question")
question.set(should_store_message=False)

token = TextInputComponent(_id="TextInput-token")
token.set(input_value="GSV_CRM_TOKEN")
# The value is then the name of a variable, which comes as a body global and is stored nowhere.
token._inputs["input_value"].load_from_db = True

note = PromptComponent(_id="Prompt-answer")
note.set(
    template="{question}: the token is {token}.",
    question=question.message_response,
    token=token.text_response,
)

answer = ChatOutput(_id="ChatOutput-answer")
answer.set(input_value=note.build_prompt)

graph = Graph(question, answer)
