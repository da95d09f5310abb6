//! What a scenario found: one flat JSON object.

use std::io::Write;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// A scenario could not be run to its end.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The figures of one scenario, in the order in which they were put.
#[derive(Debug)]
pub(crate) struct Report(Vec<(String, Value)>);

impl Report {
    pub(crate) fn new(scenario: &str) -> Self {
        Self(vec![("scenario".to_owned(), scenario.into())])
    }

    /// Adds a figure, cut to three decimals.
    pub(crate) fn put(&mut self, name: &str, figure: f64) {
        let cut = (figure * 1000.0).round() / 1000.0;
        self.0.push((name.to_owned(), cut.into()));
    }

    /// Adds a word.
    pub(crate) fn word(&mut self, name: &str, word: &str) {
        self.0.push((name.to_owned(), word.into()));
    }

    /// Adds a count.
    pub(crate) fn count(&mut self, name: &str, count: u64) {
        self.0.push((name.to_owned(), count.into()));
    }

    /// A figure found earlier.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .and_then(|(_, value)| value.as_f64())
            .unwrap_or(f64::NAN)
    }

    /// Prints the object as the last line.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        serde_json::to_writer(&mut out, self)?;
        out.write_all(b"\n")?;
        out.flush()?;
        Ok(())
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            object.serialize_entry(name, value)?;
        }
        object.end()
    }
}
