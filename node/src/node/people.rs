//! Who is online.

use std::sync::Arc;

use quid_common::name::Name;
use quid_common::wire::{Message, PAGE_LEN_MAX, Person, Who};

use super::Node;
use crate::directory::{RequestError, unexpected};
use crate::presence::{self, PresenceEvents};

impl Node {
    /// Follows who is online: everybody first, then changes.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn watch(&self) -> Result<PresenceEvents, RequestError> {
        self.login().await?;
        Ok(presence::watch(
            Arc::clone(&self.parts.directory),
            &self.parts.tasks,
        ))
    }

    /// Everybody who is online, by name.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn who(&self) -> Result<Vec<Person>, RequestError> {
        let mut people: Vec<Person> = Vec::new();
        for _ in 0..WHO_PAGES_MAX {
            let after = people.last().map(|person| person.name.clone());
            let (page, more) = self.page(after.clone()).await?;
            if page
                .first()
                .is_some_and(|first| Some(&first.name) <= after.as_ref())
            {
                return Err(RequestError::Protocol("people out of order".to_owned()));
            }
            let ends = !more || page.is_empty();
            people.extend(page);
            if ends {
                break;
            }
        }
        Ok(people)
    }

    /// Some of those who are online, among them those whose names stand near `name` in the alphabet:
    /// for suggestions. Asks for two pages at most, however many there are.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn who_is_near(&self, name: &Name) -> Result<Vec<Person>, RequestError> {
        let (mut people, more) = self.page(None).await?;
        // The least name that begins with the same letter.
        let letter = name.as_str().get(..1).unwrap_or_default();
        if more && let Ok(after) = format!("{letter}-0").parse() {
            people.extend(self.page(Some(after)).await?.0);
        }
        Ok(people)
    }

    /// A page of people, and whether more follow.
    async fn page(&self, after: Option<Name>) -> Result<(Vec<Person>, bool), RequestError> {
        let limit = PAGE_LEN_MAX;
        match self.parts.directory.ask(Who { after, limit }).await? {
            Message::WhoPage(page) => Ok((page.people, page.more)),
            answer => Err(unexpected(&answer)),
        }
    }
}

/// Most pages of people that are asked for.
const WHO_PAGES_MAX: usize = 10_000;
