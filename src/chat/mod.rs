//! Conversations: from messages to the prompt that the model's own template makes of them, and from the tokens of an
//! answer to its parts.
//!
//! The reference is `transformers`: `tests/chat.rs` compares what templates render with its renderings, byte by byte.
//!
//! A template comes with the model file and messages come from anywhere, so neither is trusted. A template has no way
//! to anything but its inputs, and a budget of instructions, of output and of recursion ([`template`]). What messages
//! say cannot become a control token ([`shield`]).

mod calling;
mod calls;
mod clock;
mod conversation;
mod fit;
mod form;
mod methods;
mod pyjson;
mod python;
mod reply;
mod shield;
mod template;
mod values;

pub use calls::ToolCall;
pub use clock::Clock;
pub use conversation::Conversation;
pub use fit::{Fitted, Gone, Overflow, fit};
pub use reply::{Parts, Reply};
pub use template::Templates;

use crate::error::{Code, Error, Result};
use crate::runtime::Onset;
use crate::tokenizer::Tokenizer;
use conversation::{Arguments, Ending};
use serde_json::Value;
use shield::Shield;
use template::{Inputs, ToolsPlace};

/// What the answer to a conversation begins with.
pub struct Prompt {
    pub tokens: Vec<u32>,
    /// Tells the parts of the answer.
    pub reply: Reply,
}

/// The prompt that the model's template makes of a conversation.
pub fn prompt(
    templates: &Templates,
    tokenizer: &Tokenizer,
    conversation: &Conversation,
    clock: Clock,
) -> Result<Prompt> {
    let template = templates.choose(conversation.tools.is_some())?;
    check_options(template, conversation)?;
    let invites = !conversation.continue_assistant;
    let (text, tokens) = encode(template, tokenizer, conversation, invites, clock, |text| text)?;
    let mut reply = match conversation.begun() {
        Some(begun) => Reply::within(template, &begun),
        None => Reply::after(template, &text),
    };
    if let (Some(format), Some(tools)) = (calls::format_of(template), &conversation.tools) {
        reply = reply.with_calls(format, tools.clone());
    }
    Ok(Prompt { tokens, reply })
}

/// The same of an answer that is given: where the template has the model reason first, that is over.
pub fn prompt_answered(
    templates: &Templates,
    tokenizer: &Tokenizer,
    conversation: &Conversation,
    clock: Clock,
) -> Result<Vec<u32>> {
    let template = templates.choose(conversation.tools.is_some())?;
    check_options(template, conversation)?;
    let answered = |text| reply::answered(template, text);
    Ok(encode(template, tokenizer, conversation, true, clock, answered)?.1)
}

/// How many of a prompt's tokens are those of the first `count` messages of its conversation, without what invites an
/// answer. None where the template refuses these messages by themselves.
pub fn shared(
    templates: &Templates,
    tokenizer: &Tokenizer,
    conversation: &Conversation,
    count: usize,
    prompt: &[u32],
    clock: Clock,
) -> usize {
    let first = conversation.first(count);
    let template = templates.choose(first.tools.is_some());
    let tokens = template.and_then(|template| encode(template, tokenizer, &first, false, clock, |text| text));
    tokens.map_or(0, |(_, tokens)| tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count())
}

/// The text of a conversation and its tokens. What messages say is no control token.
fn encode(
    template: &str,
    tokenizer: &Tokenizer,
    conversation: &Conversation,
    invites: bool,
    clock: Clock,
    end: impl FnOnce(String) -> String,
) -> Result<(String, Vec<u32>)> {
    let shield = Shield::new(tokenizer, template, conversation)?;
    let rendering = Rendering { template, tokenizer, conversation, shield: &shield, invites, clock };
    let text = end(rendering.text()?);
    let mut tokens = tokenizer.encode_shielded(&text, shield.mark())?;
    // Most templates write the begin token themselves.
    if let Some(bos) = tokenizer.bos().filter(|&bos| tokenizer.adds_bos() && tokens.first() != Some(&bos)) {
        tokens.insert(0, bos);
    }
    Ok((text, tokens))
}

/// The grammar of the tool calls that an answer may have, and when it begins; none where nothing is prescribed. If the
/// answer is `led`, a form of its own beside that of calls, both begin with it.
pub fn form(
    templates: &Templates,
    tokenizer: &Tokenizer,
    conversation: &Conversation,
    led: bool,
) -> Result<Option<(String, Onset)>> {
    let Some(_) = conversation.tools else { return Ok(None) };
    form::form(calls::format_of(templates.choose(true)?), tokenizer, conversation, led)
}

/// Whether a conversation may ask for an answer without reasoning.
pub fn can_be_told_not_to_reason(template: &str) -> bool {
    template::reads(template, "enable_thinking")
}

/// The text that the template makes of a conversation, without protection of what messages say.
pub fn render_text(
    templates: &Templates,
    tokenizer: &Tokenizer,
    conversation: &Conversation,
    clock: Clock,
) -> Result<String> {
    let template = templates.choose(conversation.tools.is_some())?;
    let invites = !conversation.continue_assistant;
    Rendering { template, tokenizer, conversation, shield: &Shield::none(), invites, clock }.text()
}

/// What a template is to make a text of.
struct Rendering<'a> {
    template: &'a str,
    tokenizer: &'a Tokenizer,
    conversation: &'a Conversation,
    shield: &'a Shield<'a>,
    /// Whether the text ends with what invites an answer.
    invites: bool,
    clock: Clock,
}

impl Rendering<'_> {
    fn text(&self) -> Result<String> {
        let takes_parts = template::takes_parts(self.template, self.conversation, self.clock);
        let text = match self.with(takes_parts, Arguments::Objects) {
            // Some templates add them to a text, which ends with an error where they are none.
            Err(error) if error.code == Code::UnsupportedModel && self.conversation.has_calls() => {
                self.with(takes_parts, Arguments::Texts).map_err(|_| error)
            }
            other => other,
        }?;
        if self.conversation.continue_assistant { Ending::cut(text) } else { Ok(text) }
    }

    fn with(&self, takes_parts: bool, arguments: Arguments) -> Result<String> {
        let Rendering { template, tokenizer, conversation, shield, invites, clock } = *self;
        let mut messages = conversation.messages_for(takes_parts, arguments)?;
        let mut variable = None;
        if let Some(tools) = &conversation.tools {
            match template::tools_place(template) {
                Some(ToolsPlace::Message) => conversation::tell_tools(&mut messages, tools)?,
                Some(ToolsPlace::Variable(name)) => variable = Some((name, tools)),
                None => {}
            }
        }
        let shielded = |values: &[Value]| values.iter().map(|value| shield.value(value)).collect();
        let text_of = |token: Option<u32>| token.and_then(|id| tokenizer.token_text(id));
        template::render(
            template,
            Inputs {
                messages: shielded(&messages),
                tools: variable.map(|(name, tools)| (name, shielded(tools))),
                documents: conversation.documents.as_deref().map(shielded),
                add_generation_prompt: invites,
                enable_thinking: conversation.reasoning,
                bos_token: text_of(tokenizer.bos()),
                eos_token: text_of(tokenizer.eos()),
            },
            clock,
        )
    }
}

/// Refuses options that the template cannot follow.
fn check_options(template: &str, conversation: &Conversation) -> Result<()> {
    if conversation.tools.is_some() {
        if template::tools_place(template).is_none() {
            return Err(Error::invalid_argument("tools: the model's chat template has no place for tools"));
        }
        if calls::format_of(template).is_none() {
            return Err(Error::invalid_argument(
                "tools: the way in which this model writes calls is not known",
            ));
        }
    }
    if conversation.documents.is_some() && !template::reads(template, "documents") {
        return Err(Error::invalid_argument(
            "documents: the model's chat template has no place for documents: put their text into a message",
        ));
    }
    let switch = conversation.reasoning.is_some() && template::reads(template, "enable_thinking");
    match conversation.reasoning {
        Some(true) if !switch && !reply::reasons(template) => Err(Error::invalid_argument(
            "reasoning: the model's chat template knows no reasoning: leave it out, or set it to false",
        )),
        Some(false) if !switch && reply::reasons(template) => Err(Error::invalid_argument(
            "reasoning: the model always reasons before it answers: leave it out, or set it to true",
        )),
        _ => Ok(()),
    }
}
