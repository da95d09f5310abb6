//! Many accounts on one endpoint, for scenarios in which connections count and payments do not.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use quid_common::address::DirectoryAddress;
use quid_common::key::PublicKey;
use quid_common::tls;
use quinn::{ClientConfig, Connection, Endpoint};
use tokio::task::JoinSet;

use crate::client::{Node, letters};
use crate::report::Failure;

/// Accounts that share an endpoint; each proves its own key.
#[derive(Debug)]
pub(crate) struct Crowd {
    members: Vec<Arc<Member>>,
    endpoint: Endpoint,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node: Node,
    name: String,
    config: ClientConfig,
    to: SocketAddr,
}

impl Crowd {
    /// `count` accounts of the directory, not registered yet, calling from one endpoint.
    pub(crate) fn new(directory: &DirectoryAddress, count: u32) -> Result<Self, Failure> {
        Self::numbered(directory, 0, count)
    }

    /// The same with numbers from `from` on: other accounts.
    pub(crate) fn numbered(
        directory: &DirectoryAddress,
        from: u32,
        count: u32,
    ) -> Result<Self, Failure> {
        let first = Node::new(ROLE, 0, false)?;
        let to = crate::client::socket_address(directory)?;
        let endpoint = first.endpoint.clone();
        let mut members = Vec::new();
        for number in from..from + count {
            let node = Node::on(&endpoint, ROLE, number)?;
            let name = format!("member-{}", letters(number));
            members.push(Arc::new(Member::new(node, name, to, directory.key())?));
        }
        Ok(Self { members, endpoint })
    }

    /// The same accounts, calling another server that proves `key`.
    pub(crate) fn calling(&self, to: SocketAddr, key: PublicKey) -> Result<Self, Failure> {
        let mut members = Vec::new();
        for member in &self.members {
            let (node, name) = (member.node.clone(), member.name.clone());
            members.push(Arc::new(Member::new(node, name, to, key)?));
        }
        Ok(Self {
            members,
            endpoint: self.endpoint.clone(),
        })
    }

    /// Does `work` once for each member in turn, `times` in all, so many at once; gives the
    /// results in the order in which they ended.
    pub(crate) async fn each<T, F>(
        &self,
        times: usize,
        work: impl Fn(Arc<Member>) -> F,
    ) -> Result<Vec<T>, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let mut running = JoinSet::new();
        let mut results = Vec::with_capacity(times);
        for member in self.members.iter().cycle().take(times) {
            if running.len() >= AT_ONCE
                && let Some(ended) = running.join_next().await
            {
                results.push(ended??);
            }
            running.spawn(work(Arc::clone(member)));
        }
        while let Some(ended) = running.join_next().await {
            results.push(ended??);
        }
        Ok(results)
    }
}

impl Member {
    fn new(node: Node, name: String, to: SocketAddr, key: PublicKey) -> Result<Self, Failure> {
        let config = node.config(key, tls::ALPN_DIRECTORY)?;
        Ok(Self {
            node,
            name,
            config,
            to,
        })
    }

    /// Connects, registers if need be, and logs in as a node that listens.
    pub(crate) async fn come_online(
        &self,
        directory: &DirectoryAddress,
    ) -> Result<Connection, Failure> {
        let connection = self.connect().await?;
        self.node
            .register(&connection, directory, &self.name)
            .await?;
        self.node.begin(connection.clone(), true).await?;
        Ok(connection)
    }

    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let connecting =
            self.node
                .endpoint
                .connect_with(self.config.clone(), self.to, tls::SERVER_NAME)?;
        Ok(connecting.await?)
    }
}

/// Connections being made at once: enough to keep both sides at work.
const AT_ONCE: usize = 32;

/// The seeds' first byte after the number.
const ROLE: u8 = 0xc0;
