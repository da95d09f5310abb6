//! The toy model: says words that often follow each other in what it has read, which is little.

use std::hash::{DefaultHasher, Hash, Hasher};

/// An answer, token by token. It goes on for as long as somebody listens.
#[derive(Debug)]
pub(crate) struct Answer {
    words: Vec<&'static str>,
    at: usize,
    state: u64,
}

impl Answer {
    /// The model's answer to a question: the same one every time.
    pub(crate) fn to(question: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        question.hash(&mut hasher);
        let words: Vec<_> = READ.split_whitespace().collect();
        let state = hasher.finish() | 1;
        let at = usize::try_from(state % words.len() as u64).unwrap_or(0);
        Self { words, at, state }
    }
}

impl Iterator for Answer {
    type Item = &'static str;

    fn next(&mut self) -> Option<Self::Item> {
        let word = *self.words.get(self.at)?;
        let places = self.words.iter().enumerate();
        let same: Vec<usize> = places
            .filter_map(|(place, other)| (*other == word).then_some(place))
            .collect();
        // Marsaglia's xorshift, which is random enough for this.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let pick = usize::try_from(self.state % same.len() as u64).unwrap_or(0);
        self.at = (same.get(pick)? + 1) % self.words.len();
        Some(word)
    }
}

const READ: &str = "a tab is a sum that is set aside for one who sells by the piece and each piece \
    that is sold is paid by a number that only the one who pays can know and that the one who sells \
    can check so a payment is as fast as a word and as small as a word and the one who keeps the \
    books need not hear of it until the one who sells wants the money and what is not paid goes back \
    to the one who set it aside and if one of the two goes away the other has lost no more than a \
    word or two and that is a risk that is worth a tab";
