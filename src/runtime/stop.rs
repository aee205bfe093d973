//! Stop texts: nothing that may become one is shown before it is clear that it does not.

/// Watches a growing text for the stop texts.
pub struct Stops {
    texts: Vec<String>,
    held: String,
}

/// What can be shown, and the stop text that was met.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    pub text: String,
    pub stop: Option<String>,
}

impl Stops {
    pub fn new(texts: &[String]) -> Self {
        Stops { texts: texts.to_vec(), held: String::new() }
    }

    /// Takes more text. The earliest stop text ends it; of two that begin together, the first in the list.
    pub fn push(&mut self, text: &str) -> Shown {
        self.held.push_str(text);
        let found = self
            .texts
            .iter()
            .filter_map(|stop| self.held.find(stop).map(|at| (at, stop)))
            .min_by_key(|f| f.0);
        if let Some((at, stop)) = found {
            let shown = Shown { text: self.held[..at].into(), stop: Some(stop.clone()) };
            self.held.clear();
            return shown;
        }
        let undecided = (0..self.held.len())
            .filter(|at| self.held.is_char_boundary(*at))
            .find(|at| self.texts.iter().any(|stop| stop.starts_with(&self.held[*at..])))
            .unwrap_or(self.held.len());
        let rest = self.held.split_off(undecided);
        Shown { text: std::mem::replace(&mut self.held, rest), stop: None }
    }

    /// What was held back when the answer ended otherwise.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, Option<String>) {
        let mut stops = Stops::new(&stops.iter().map(|s| s.to_string()).collect::<Vec<_>>());
        let mut text = String::new();
        for piece in pieces {
            let shown = stops.push(piece);
            text.push_str(&shown.text);
            if shown.stop.is_some() {
                return (text, shown.stop);
            }
        }
        (text + &stops.finish(), None)
    }

    #[test]
    fn stops_are_found_across_pieces_and_never_shown() {
        assert_eq!(run(&["END"], &["ab", "E", "N", "D", "x"]), ("ab".into(), Some("END".into())));
        assert_eq!(run(&["END"], &["ab", "EN", "E", "ND"]), ("abEN".into(), Some("END".into())));
        assert_eq!(run(&["b", "ab"], &["xabb"]), ("x".into(), Some("ab".into())));
        assert_eq!(run(&["END"], &["EN"]), ("EN".into(), None));
        assert_eq!(run(&["é!"], &["café", "?"]), ("café?".into(), None));
        assert_eq!(run(&[], &["a", "b"]), ("ab".into(), None));
    }
}
