//! How a node runs: what its application chooses.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quid_common::order::Order;

use crate::tabs::TabPolicy;

/// How a node runs.
#[derive(Clone)]
pub struct Options {
    /// Whether this node receives: takes peers' orders, has presence and hears of payments.
    pub listen: bool,
    /// Listening, but neither in `who` nor offered to payers.
    pub hidden: bool,
    /// The UDP address to bind.
    pub bind: SocketAddr,
    /// Whether a lost session is sought again; otherwise the first loss is final.
    pub reconnect: bool,
    /// Whether only orders are taken that answer a reference of [`crate::Node::new_reference`], each
    /// once, or pay a request of [`crate::Node::request`].
    pub require_reference: bool,
    /// Asked about every order that a peer offers, after all checks but before it is noted; none
    /// takes them all.
    pub accept: Option<Accept>,
    /// What this node asks of tabs that pay it, and what it risks on each.
    pub tabs: TabPolicy,
}

/// Judges an order that is offered. It must not block.
pub type Accept = Arc<dyn Fn(&Order) -> Decision + Send + Sync>;

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: false,
            hidden: false,
            bind: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            reconnect: true,
            require_reference: false,
            accept: None,
            tabs: TabPolicy::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("hidden", &self.hidden)
            .field("bind", &self.bind)
            .field("reconnect", &self.reconnect)
            .field("require_reference", &self.require_reference)
            .field("accept", &self.accept.is_some())
            .field("tabs", &self.tabs)
            .finish()
    }
}

/// Whether an offered order is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Settle it.
    Accept,
    /// Decline it for good.
    Decline,
}
