//! Calls of tools as they stream: each is told as soon as it is complete.
//!
//! What looks like a call and cannot be read is text again.

use super::calls::{Format, Read, ToolCall};
use serde_json::Value;

/// Where the calls of an answer stand.
#[derive(Debug, Clone)]
pub struct Calling {
    format: &'static Format,
    /// Whether they began with a mark.
    marked: bool,
    place: Place,
    /// What has been taken of a call that has yet to come.
    taken: String,
    /// Whether there was a call.
    begun: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    /// Behind the mark that opens a list.
    Open,
    Call,
    /// Behind a call of a list, which may go on.
    Listed,
    /// Where a mark may open the next.
    After,
}

/// What the text so far tells.
pub enum Told {
    Call(ToolCall),
    /// Nothing yet.
    More,
    /// This is no call, and what follows is text as well.
    Text(String),
}

/// A text that is so short is read with every token.
const SHORT: usize = 100;

impl Calling {
    /// Calls that begin with a mark, or without one.
    pub fn new(format: &'static Format, marked: bool) -> Self {
        let place = if marked { Place::After } else { Place::Call };
        Calling { format, marked, place, taken: String::new(), begun: false }
    }

    /// Whether a control token is part of calls.
    pub fn reads(&self, mark: &str) -> bool {
        self.place != Place::After || mark == self.format.open || mark == self.format.close
    }

    /// Takes from `held` what is sure. `news` is what was added to it last.
    pub fn take(&mut self, held: &mut String, news: &str, tools: &[Value]) -> Told {
        let Format { open, close, list, parted, ends, read, .. } = *self.format;
        loop {
            let start = held.trim_start();
            if start.is_empty() {
                return Told::More;
            }
            let marks: &[(&str, Place)] = match self.place {
                Place::Call => {
                    // Where nothing ends that may be a call, there is none to read.
                    if start.len() > SHORT && !news.contains(ends) {
                        return Told::More;
                    }
                    match read(start, self.marked, tools) {
                        Read::More => return Told::More,
                        Read::No => return self.text(),
                        Read::Call(call, rest) => {
                            *held = rest.to_owned();
                            self.place = if list { Place::Listed } else { Place::After };
                            self.taken.clear();
                            self.begun = true;
                            return Told::Call(call);
                        }
                    }
                }
                Place::Open => &[("[", Place::Call)],
                Place::Listed => &[(",", Place::Call), ("]", Place::After)],
                Place::After => &[
                    (open, if list { Place::Open } else { Place::Call }),
                    (close, Place::After),
                    (parted, Place::Call),
                ],
            };
            let mut marks = marks.iter().filter(|(mark, _)| !mark.is_empty());
            if let Some((mark, place)) = marks.clone().find(|(mark, _)| start.starts_with(mark)) {
                let taken: String = held.drain(..held.len() - start.len() + mark.len()).collect();
                match place {
                    // It belongs to the last call.
                    Place::After => self.taken.clear(),
                    _ => self.taken.push_str(if self.place == Place::After {
                        taken.trim_start()
                    } else {
                        &taken
                    }),
                }
                self.place = *place;
            } else if marks.any(|(mark, _)| mark.starts_with(start)) {
                return Told::More;
            } else {
                if self.begun && self.place == Place::After {
                    *held = start.to_owned();
                }
                return self.text();
            }
        }
    }

    /// What is left of an answer's text at its end. If that is `cut` off in the midst of a call behind others, the call is
    /// none, and no text either.
    pub fn finish(mut self, held: &str, cut: bool) -> String {
        match self.begun && (cut || self.place == Place::After) {
            true => String::new(),
            false => std::mem::take(&mut self.taken) + held,
        }
    }

    fn text(&mut self) -> Told {
        Told::Text(std::mem::take(&mut self.taken))
    }
}
