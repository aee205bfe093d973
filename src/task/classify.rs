//! Classification by a model that generates text: the label that it would most likely answer.
//!
//! A label's score is the log-probability of all of its tokens after the prompt, less the same for an input that says
//! nothing: what a model likes to say whatever it is asked, and what longer labels lose, is taken off (contextual
//! calibration, Zhao et al. 2021, arXiv:2102.09690).

use super::answers::{Answers, Prefix, Query};
use crate::chat::{self, Clock, Conversation, Templates};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::tokenizer::Tokenizer;
use serde::Deserialize;
use serde_json::json;
use std::rc::Rc;

/// The input that says nothing.
const CONTENT_FREE: &str = "N/A";

/// What is to be told of texts, as the page gives it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Task {
    pub labels: Vec<String>,
    /// What the model is asked; a question for the label if absent.
    pub instruction: Option<String>,
    #[serde(default)]
    pub examples: Vec<Example>,
    /// Whether each label is a question of its own.
    #[serde(default)]
    pub multi_label: bool,
    #[serde(default = "yes")]
    pub calibrate: bool,
}

/// A text whose label is known.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    pub text: String,
    /// One label, or with `multiLabel` any number.
    pub label: Labels,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Labels {
    One(String),
    Several(Vec<String>),
}

fn yes() -> bool {
    true
}

impl Labels {
    fn contains(&self, label: &str) -> bool {
        match self {
            Labels::One(one) => one == label,
            Labels::Several(several) => several.iter().any(|one| one == label),
        }
    }
}

impl Task {
    /// Reads a task from JSON and refuses what makes no sense.
    pub fn from_json(json: &str) -> Result<Self> {
        let task: Task = serde_json::from_str(json)
            .map_err(|error| Error::invalid_argument(format!("classify: {error}")))?;
        let least = if task.multi_label { 1 } else { 2 };
        if task.labels.len() < least {
            return Err(Error::invalid_argument(format!("labels must be {least} at least")));
        }
        for (index, label) in task.labels.iter().enumerate() {
            if label.trim().is_empty() || task.labels[..index].contains(label) {
                return Err(Error::invalid_argument(format!("labels[{index}] is empty or there twice")));
            }
        }
        for (index, Example { label, .. }) in task.examples.iter().enumerate() {
            let (count, known) = match label {
                Labels::One(one) => (1, task.labels.contains(one)),
                Labels::Several(several) => {
                    (several.len(), several.iter().all(|one| task.labels.contains(one)))
                }
            };
            if !known || (count != 1 && !task.multi_label) {
                return Err(Error::invalid_argument(format!(
                    "examples[{index}].label must be one of the labels"
                )));
            }
        }
        Ok(task)
    }

    /// The questions about a text, with their answers: one with the labels, or one for each label with yes and no.
    fn questions(&self) -> Vec<Option<&str>> {
        if self.multi_label {
            self.labels.iter().map(|label| Some(label.as_str())).collect()
        } else {
            vec![None]
        }
    }

    /// What is asked, before any text and label, so that prompts have much in common.
    fn opening(&self) -> String {
        let (default, labels) = match self.multi_label {
            true => ("Does the label fit the text? Answer yes or no.", String::new()),
            false => (
                "Which label fits the text best? Answer with the label only.",
                format!("\nLabels: {}", self.labels.join(", ")),
            ),
        };
        format!("{}{labels}\n\n", self.instruction.as_deref().unwrap_or(default))
    }

    /// The texts of the examples, and their answers.
    fn shots(&self, label: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
        self.examples.iter().map(move |Example { text, label: known }| {
            let answer = match (label, known) {
                (Some(label), known) if known.contains(label) => YES_NO[0],
                (Some(_), _) => YES_NO[1],
                (None, Labels::One(one)) => one,
                (None, Labels::Several(several)) => several.first().map_or("", String::as_str),
            };
            (text.as_str(), answer)
        })
    }
}

const YES_NO: [&str; 2] = ["yes", "no"];

/// What makes tokens of a task.
pub struct Prompting<'a> {
    pub tokenizer: &'a Tokenizer,
    pub templates: &'a Templates,
    pub clock: Clock,
}

impl Prompting<'_> {
    /// The prompt that asks for the label of `text`: by the model's template if it has one.
    fn prompt(&self, task: &Task, label: Option<&str>, text: &str) -> Result<Vec<u32>> {
        let opening = task.opening();
        let asked = |text: &str| match label {
            Some(label) => format!("Text: {text}\nLabel: {label}"),
            None => format!("Text: {text}"),
        };
        let Ok(template) = self.templates.choose(false) else {
            let reply = if label.is_some() { "Fits:" } else { "Label:" };
            let mut prompt = opening;
            for (text, answer) in task.shots(label) {
                prompt += &format!("{}\n{reply} {answer}\n\n", asked(text));
            }
            return self.tokenizer.encode(&format!("{prompt}{}\n{reply}", asked(text)), false, None);
        };
        let mut messages = Vec::new();
        let turns = task.shots(label).map(|(text, answer)| (text, Some(answer))).chain([(text, None)]);
        for (text, answer) in turns {
            let head = if messages.is_empty() { opening.as_str() } else { "" };
            messages.push(json!({ "role": "user", "content": format!("{head}{}", asked(text)) }));
            messages.extend(answer.map(|answer| json!({ "role": "assistant", "content": answer })));
        }
        // A model that can answer at once does.
        let reasoning = chat::can_be_told_not_to_reason(template).then_some(false);
        let conversation = json!({ "messages": messages, "reasoning": reasoning }).to_string();
        let conversation = Conversation::from_json(&conversation)?;
        chat::prompt_answered(self.templates, self.tokenizer, &conversation, self.clock)
    }

    /// The tokens of an answer: behind a template's prompt it begins a text, behind a colon it goes on.
    fn answer(&self, text: &str) -> Result<Vec<u32>> {
        match self.templates.choose(false) {
            Ok(_) => self.tokenizer.encode_within(text),
            Err(_) => self.tokenizer.encode_within(&format!(" {text}")),
        }
    }
}

/// What is kept from one run of a task for the next.
#[derive(Clone)]
pub struct Kept {
    task: Task,
    prefix: Prefix,
    /// The log-probabilities of the answers where the text says nothing, if they are wanted.
    baseline: Vec<Vec<f32>>,
}

impl Kept {
    /// Whether it is of runs of this task.
    pub fn is_of(&self, task: &Task) -> bool {
        self.task == *task
    }

    /// Whether it is of the same task.
    pub fn is_like(&self, other: &Kept) -> bool {
        self.is_of(&other.task)
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> u64 {
        self.prefix.bytes()
    }
}

/// A run of a task over texts.
pub struct Classification {
    task: Task,
    answers: Answers,
    /// Of an earlier run; otherwise the first queries are those of the text that says nothing.
    baseline: Option<Vec<Vec<f32>>>,
    queries: usize,
}

impl Classification {
    /// A run over `texts`; `kept` is what an earlier one has left. Errors count texts from `first`.
    pub fn new(
        executor: &mut Executor,
        prompting: &Prompting,
        task: Task,
        texts: &[String],
        first: usize,
        kept: Option<&Kept>,
    ) -> Result<Self> {
        let kept = kept.filter(|kept| kept.is_of(&task));
        let answers: Vec<&str> = match task.multi_label {
            true => YES_NO.to_vec(),
            false => task.labels.iter().map(String::as_str).collect(),
        };
        let answers: Rc<[Vec<u32>]> =
            answers.into_iter().map(|answer| prompting.answer(answer)).collect::<Result<_>>()?;
        let fresh = kept.is_none().then_some(CONTENT_FREE);
        let mut queries = Vec::new();
        let numbers = fresh.iter().map(|_| None).chain((first..).map(Some));
        for (number, text) in numbers.zip(fresh.into_iter().chain(texts.iter().map(String::as_str))) {
            for label in task.questions() {
                let prompt = prompting.prompt(&task, label, text)?;
                let query = Query { prompt, answers: Rc::clone(&answers) };
                query.check(executor).map_err(|error| match number {
                    Some(number) => Error { message: format!("text {number}: {}", error.message), ..error },
                    None => error,
                })?;
                queries.push(query);
            }
        }
        let count = task.questions().len();
        let answers = Answers::new(executor, queries, kept.map(|kept| kept.prefix.clone()))?;
        Ok(Classification { task, answers, baseline: kept.map(|kept| kept.baseline.clone()), queries: count })
    }

    /// Texts that are done, and of how many.
    pub fn progress(&self) -> (usize, usize) {
        let (done, total) = self.answers.progress();
        let extra = usize::from(self.baseline.is_none());
        let texts = |queries: usize| (queries / self.queries).saturating_sub(extra);
        (texts(done), texts(total))
    }

    /// Goes on until done (true) or told to pause (false).
    pub fn advance(&mut self, executor: &mut Executor, pause: &mut dyn FnMut() -> bool) -> Result<bool> {
        self.answers.advance(executor, pause)
    }

    /// Of each text the logits of its labels: for a softmax over them, or with `multiLabel` for a sigmoid of each.
    pub fn finish(self) -> (Vec<Vec<f32>>, Kept) {
        let (mut logprobs, prefix) = self.answers.finish();
        let baseline = match self.baseline {
            Some(baseline) => baseline,
            None => logprobs.drain(..self.queries).collect(),
        };
        let calibrated = |(row, base): (&Vec<f32>, &Vec<f32>)| -> Vec<f32> {
            row.iter().zip(base).map(|(x, b)| if self.task.calibrate { x - b } else { *x }).collect()
        };
        let logits = logprobs
            .chunks_exact(self.queries)
            .map(|rows| {
                let rows = rows.iter().zip(&baseline).map(calibrated);
                if self.task.multi_label {
                    rows.map(|row| row[0] - row[1]).collect()
                } else {
                    rows.flatten().collect()
                }
            })
            .collect();
        (logits, Kept { task: self.task, prefix, baseline })
    }
}
