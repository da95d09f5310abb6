//! Floods by those who have not logged in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use quid_common::tls::{self, TlsIdentity};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::{CALL_WAIT, Kind, ROLE, Siege, Workers, endpoint};
use crate::client::{key, letters};
use crate::report::Failure;

/// Handshakes from forty networks, each connection gone at once.
pub(super) fn handshakes(siege: &Arc<Siege>, kind: Kind) -> Result<Workers, Failure> {
    let mut workers = Workers::new();
    for number in 0..WORKERS {
        let (siege, endpoint) = (Arc::clone(siege), endpoint(number)?);
        let config = config(&siege, kind, number)?;
        workers.add(async move {
            loop {
                siege.wanted().await;
                let call = endpoint.connect_with(config.clone(), siege.to(), tls::SERVER_NAME)?;
                match timeout(CALL_WAIT, call).await {
                    Ok(Ok(connection)) => {
                        // Without a certificate the client believes that all is well.
                        if kind != Kind::Handshakes {
                            let _ = timeout(CALL_WAIT, connection.closed()).await;
                        }
                        connection.close(0_u32.into(), b"");
                        siege.done();
                    }
                    _ => siege.refused(),
                }
            }
        });
    }
    Ok(workers)
}

/// As many connections as are let in, `count` at most, which say nothing and come again once they
/// are closed for it.
pub(super) fn silent(siege: &Arc<Siege>, count: u32) -> Result<Workers, Failure> {
    let mut workers = Workers::new();
    // One after another, or their packets would get lost among each other.
    let calling = Arc::new(Semaphore::new(AT_ONCE));
    let endpoints: Vec<Endpoint> = (0..WORKERS).map(endpoint).collect::<Result<_, _>>()?;
    for (number, endpoint) in (0..count).zip(endpoints.iter().cycle()) {
        let (siege, endpoint) = (Arc::clone(siege), endpoint.clone());
        let calling = Arc::clone(&calling);
        workers.add(async move {
            loop {
                siege.wanted().await;
                let turn = calling.acquire().await?;
                let called = siege.call(&endpoint, number).await;
                drop(turn);
                let Some((_, connection)) = called else {
                    sleep(AGAIN).await;
                    continue;
                };
                siege.done();
                connection.closed().await;
                siege.closed();
            }
        });
    }
    Ok(workers)
}

/// Frames that claim more than a stranger may send.
pub(super) fn lengths(siege: &Arc<Siege>) -> Result<Workers, Failure> {
    let mut workers = Workers::new();
    for number in 0..WORKERS {
        let (siege, endpoint) = (Arc::clone(siege), endpoint(number)?);
        workers.add(async move {
            for len in [4097_u32, 1 << 31, u32::MAX].into_iter().cycle() {
                siege.wanted().await;
                let Some((_, connection)) = siege.call(&endpoint, number).await else {
                    continue;
                };
                let (mut send, _receive) = connection.open_bi().await?;
                let mut header = len.to_be_bytes().to_vec();
                header.extend(3_u16.to_be_bytes());
                // It may be closed before all of it has left.
                let _ = send.write_all(&header).await;
                let _ = timeout(CALL_WAIT, connection.closed()).await;
                siege.done();
                siege.closed();
            }
            Ok(())
        });
    }
    Ok(workers)
}

/// Registrations of names that are free and, in turn, of one that is not.
pub(super) fn registrations(siege: &Arc<Siege>) -> Result<Workers, Failure> {
    let mut workers = Workers::new();
    let next = Arc::new(AtomicU32::new(1_000_000));
    for number in 0..WORKERS {
        let (siege, next, endpoint) = (Arc::clone(siege), Arc::clone(&next), endpoint(number)?);
        workers.add(async move {
            loop {
                siege.wanted().await;
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((node, connection)) = siege.call(&endpoint, number).await else {
                    continue;
                };
                for tried in 0..TRIES {
                    let name = match tried {
                        0 => format!("crowd-{}", letters(number)),
                        _ => "payer-a".to_owned(),
                    };
                    let asked = node.register(&connection, &siege.directory, &name);
                    match timeout(CALL_WAIT, asked).await {
                        Ok(Ok(())) => siege.done(),
                        _ => siege.refused(),
                    }
                }
                connection.close(0_u32.into(), b"");
                siege.closed();
            }
        });
    }
    Ok(workers)
}

/// A caller's settings, with the certificate that the kind wants.
fn config(siege: &Siege, kind: Kind, number: u32) -> Result<ClientConfig, Failure> {
    let own = tls_config(siege, number)?;
    let mut tls = own.clone();
    match kind {
        Kind::NoCertificate => tls.client_auth_cert_resolver = Arc::new(Shown(None)),
        Kind::VictimCertificate => {
            let (own, victim) = (certified(&own)?, certified(&tls_config(siege, 999_999)?)?);
            let lie = CertifiedKey::new(victim.cert.clone(), own.key.clone());
            tls.client_auth_cert_resolver = Arc::new(Shown(Some(Arc::new(lie))));
        }
        _ => {}
    }
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(
        tls,
    )?)))
}

fn tls_config(siege: &Siege, number: u32) -> Result<rustls::ClientConfig, Failure> {
    let identity = TlsIdentity::new(&key(ROLE, number).seed())?;
    let server = *siege.directory.key().as_bytes();
    Ok(tls::client_config(&identity, server, tls::ALPN_DIRECTORY)?)
}

fn certified(config: &rustls::ClientConfig) -> Result<Arc<CertifiedKey>, Failure> {
    let shown = config
        .client_auth_cert_resolver
        .resolve(&[], &[SignatureScheme::ED25519]);
    shown.ok_or_else(|| "a node has no certificate".into())
}

/// Shows this certificate, or none.
#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// Callers at once, each from a network of its own.
const WORKERS: u32 = 40;

/// Silent callers that are calling at once.
const AT_ONCE: usize = 64;

/// Requests that a stranger may make.
const TRIES: u32 = 16;

/// Until a stranger that was refused calls again.
const AGAIN: Duration = Duration::from_millis(200);
