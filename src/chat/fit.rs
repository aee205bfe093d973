//! What becomes of a conversation that outgrows the context.

use super::{Clock, Conversation, Prompt, Templates, prompt, shared};
use crate::error::{Code, Error, Result};
use crate::runtime::slide;
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

/// What the caller wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// It is refused.
    Error,
    /// The oldest turns are left out.
    DropOldest,
    /// The oldest tokens are left out, within a turn as well, and within the answer.
    Slide,
}

/// What is left out of a conversation, behind its system message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    pub messages: usize,
    pub tokens: usize,
}

/// A prompt that fits, once what has slid is cut out of it.
pub struct Fitted {
    pub prompt: Prompt,
    pub gone: Gone,
    /// The tokens of the system message, which stay where others slide.
    pub head: usize,
}

impl Fitted {
    /// Cuts out what has slid, and has `points` of the prompt be where they are then.
    pub fn cut(&mut self, points: &mut Vec<usize>) {
        let slid = self.head..self.head + self.gone.tokens;
        points.retain(|point| *point > slid.end);
        points.iter_mut().for_each(|point| *point -= slid.len());
        self.prompt.tokens.drain(slid);
    }
}

/// The conversation's prompt, less what is `gone` already and what has to go for the rest to fit into the context, with
/// an answer of `answer` tokens (a quarter of the context if that is open, half of it at most). Once something has to
/// go, a quarter of the context is made free: every time that the beginning changes, all has to be computed again.
#[allow(clippy::too_many_arguments)]
pub fn fit(
    templates: &Templates,
    tokenizer: &Tokenizer,
    conversation: &Conversation,
    clock: Clock,
    overflow: Overflow,
    gone: Gone,
    context: usize,
    answer: Option<usize>,
) -> Result<Fitted> {
    let render = |conversation: &Conversation| prompt(templates, tokenizer, conversation, clock);
    match overflow {
        Overflow::Error => Ok(Fitted { prompt: render(conversation)?, gone: Gone::default(), head: 0 }),
        Overflow::DropOldest => {
            let conversation = conversation.without_messages(gone.messages);
            let room = answer.unwrap_or(context / 4).min(context / 2);
            let whole = render(&conversation)?;
            if whole.tokens.len() + room <= context {
                let gone = Gone { tokens: 0, ..gone };
                return Ok(Fitted { prompt: whole, gone, head: 0 });
            }
            let most = (context - room).min(context * 3 / 4);
            let (mut few, mut many) = (0, conversation.older_turns());
            while few < many {
                let middle = few.midpoint(many);
                let fits = render(&conversation.without_turns(middle).0)?.tokens.len() <= most;
                (few, many) = if fits { (few, middle) } else { (middle + 1, many) };
            }
            let (rest, dropped) = conversation.without_turns(many);
            let prompt = render(&rest)?;
            let gone = Gone { messages: gone.messages + dropped, tokens: 0 };
            Ok(Fitted { prompt, gone, head: 0 })
        }
        Overflow::Slide => {
            let prompt = render(conversation)?;
            let tokens = &prompt.tokens;
            let begin = usize::from(tokenizer.bos().is_some_and(|bos| tokens.first() == Some(&bos)));
            let head = match conversation.preamble() {
                0 => begin,
                count => shared(templates, tokenizer, conversation, count, tokens, clock).max(begin),
            };
            if head + 1 > context / 2 {
                let message = format!(
                    "the system message has {head} tokens, more than half of the context of {context}: shorten it, or \
                     load with a larger contextLength"
                );
                return Err(Error::new(Code::ContextOverflow, message));
            }
            let before = gone.tokens.min(tokens.len().saturating_sub(head + 1));
            let rest = tokens.len() - before;
            let more = if rest < context { 0 } else { slide(head, rest, context) };
            let gone = Gone { messages: 0, tokens: before + more };
            Ok(Fitted { prompt, gone, head })
        }
    }
}
