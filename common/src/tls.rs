//! Mutual TLS 1.3 in which an Ed25519 key is the whole identity.
//!
//! Both sides present a self-signed certificate whose only meaning is the key inside. A client
//! pins the one key it wants to reach; a server takes any Ed25519 key and asks [`key_of`] whose it
//! is. There is no authority, no name, no revocation: what a key may do is the ledger's business.
//!
//! What proves a key is the TLS 1.3 CertificateVerify signature over this very handshake, and the
//! verifiers here really check it. A verifier that let it pass would let anyone present a victim's
//! certificate, which is public. The certificate's own signature, dates and names are never looked
//! at: all three are written by the holder of the key and countersigned by nobody, so they could
//! only say again, at some other time, what the handshake has just proved. A wrong clock can
//! therefore never lock anyone out.
//!
//! Every handshake is a full one. Tickets, resumption and early data are off: they would save
//! little here, keep secrets in memory, and early data can be replayed.
//!
//! Not here: sockets, QUIC, and what happens after the handshake.

use std::fmt;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use rcgen::{CertificateParams, DistinguishedName, DnType};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName as RootHint,
    OtherError, PeerIncompatible, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use thiserror::Error;
use webpki::EndEntityCert;
use zeroize::Zeroizing;

/// The protocol a client speaks with the directory.
pub const ALPN_DIRECTORY: &[u8] = b"quid-directory/1";

/// The protocol two nodes speak with each other.
pub const ALPN_PEER: &[u8] = b"quid-peer/1";

/// The name every client asks for and every certificate bears. It travels in the clear, so it is
/// the same for all and says nothing about who is called.
pub const SERVER_NAME: &str = "quid";

/// Longest certificate we read, in bytes; our own have at most 226. It bounds the parsing that a
/// stranger can ask for, and leaves room for what other libraries put into theirs.
pub const CERTIFICATE_LEN_MAX: usize = 1024;

/// The TLS alert (`access_denied`) with which a client refuses a server whose key is not the
/// pinned one, and with which nothing else here is refused. QUIC libraries report only this
/// number, and "somebody else answered" is worth telling a person apart from a network fault.
pub const WRONG_KEY_ALERT: u8 = 49;

/// An Ed25519 key ready to prove itself in handshakes. Clones share one copy of the secret, which
/// only the crypto library holds and which it wipes with the last clone.
#[derive(Clone)]
pub struct TlsIdentity {
    certified: Arc<CertifiedKey>,
    public_key: [u8; 32],
}

impl TlsIdentity {
    /// Makes the certificate for the Ed25519 key of this seed (RFC 8032's 32-byte private key).
    /// The same seed gives the same certificate.
    ///
    /// # Errors
    /// [`TlsError::Setup`] or [`TlsError::Certificate`]; no seed is known to cause either.
    pub fn new(secret_key_seed: &[u8; 32]) -> Result<Self, TlsError> {
        let mut pkcs8 = Zeroizing::new([0; PKCS8_PREFIX.len() + 32]);
        for (place, byte) in pkcs8
            .iter_mut()
            .zip(PKCS8_PREFIX.iter().chain(secret_key_seed))
        {
            *place = *byte;
        }
        let key = aws_lc_rs::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.as_slice()))?;
        let public_key = key
            .public_key()
            .and_then(|spki| ed25519_key(&spki))
            .ok_or(TlsError::NotEd25519)?;

        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, SERVER_NAME);
        let certificate = params.self_signed(&CertificateSigner {
            key: &*key,
            public_key,
        })?;

        let certified = Arc::new(CertifiedKey::new(vec![certificate.into()], key));
        Ok(Self {
            certified,
            public_key,
        })
    }

    /// The key that peers will see.
    #[must_use]
    pub const fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// The certificate that peers will see, in DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        self.certified.cert.first().map_or(&[], |it| it.as_ref())
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("public_key", &HEXLOWER.encode(&self.public_key))
            .finish_non_exhaustive()
    }
}

/// Settings for the side that is called: proves `identity`, speaks the protocols in `alpn` and
/// demands that every caller prove an Ed25519 key, whichever it is. After the handshake ask
/// [`key_of`] with the caller's one certificate.
///
/// Under QUIC a caller must name one of the protocols. Over plain TLS, rustls lets a caller name
/// none: look at what was negotiated.
///
/// # Errors
/// [`TlsError::Alpn`] if `alpn` is unusable; [`TlsError::Setup`] if rustls refuses the settings,
/// which it has no reason to.
pub fn server_config(identity: &TlsIdentity, alpn: &[&[u8]]) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(AnyKey))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified.clone())));
    config.alpn_protocols = protocols(alpn)?;
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Settings for the side that calls: proves `identity`, and goes through only if the other side
/// proves the Ed25519 key `server` and speaks `alpn`. Connect with [`SERVER_NAME`].
///
/// # Errors
/// [`TlsError::Alpn`] if `alpn` is unusable; [`TlsError::Setup`] if rustls refuses the settings,
/// which it has no reason to.
pub fn client_config(
    identity: &TlsIdentity,
    server: [u8; 32],
    alpn: &[u8],
) -> Result<ClientConfig, TlsError> {
    client(identity, Some(server), alpn)
}

/// Like [`client_config`], but takes whatever key the server proves: for learning the key of a
/// directory that nobody has told us yet. The caller shows the key to a person and goes no further.
///
/// # Errors
/// As [`client_config`].
pub fn client_config_unpinned(
    identity: &TlsIdentity,
    alpn: &[u8],
) -> Result<ClientConfig, TlsError> {
    client(identity, None, alpn)
}

/// The Ed25519 key in a certificate. On its own this proves nothing about who sent it; for the
/// certificate of a finished handshake it is the key the peer has proved.
///
/// Any 32 bytes come back as they stand, also those of a key that more than one secret could use:
/// see [`crate::key::PublicKey::is_sound`].
///
/// # Errors
/// [`TlsError::TooLong`], [`TlsError::Malformed`] or [`TlsError::NotEd25519`]: refuse the peer.
pub fn key_of(certificate_der: &[u8]) -> Result<[u8; 32], TlsError> {
    if certificate_der.len() > CERTIFICATE_LEN_MAX {
        return Err(TlsError::TooLong);
    }
    let der = CertificateDer::from(certificate_der);
    let certificate = EndEntityCert::try_from(&der).map_err(|_| TlsError::Malformed)?;
    ed25519_key(&certificate.subject_public_key_info()).ok_or(TlsError::NotEd25519)
}

/// Why a certificate was refused, or why our own settings could not be made.
///
/// QUIC sends a refusal's text to the peer. So the variants that are the peer's fault carry
/// nothing, least of all the key we hoped to meet.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum TlsError {
    /// The peer's fault: its certificate is longer than [`CERTIFICATE_LEN_MAX`].
    #[error("the certificate is longer than {CERTIFICATE_LEN_MAX} bytes")]
    TooLong,
    /// The peer's fault: its certificate is not an X.509 version 3 certificate in DER.
    #[error("the certificate is malformed")]
    Malformed,
    /// The peer's fault: its certificate carries a key of another kind.
    #[error("the certificate does not carry an Ed25519 key")]
    NotEd25519,
    /// The peer's fault: it sent a chain, where exactly one certificate is allowed.
    #[error("more than one certificate was sent")]
    Chain,
    /// The server has another key than the pinned one: a changed key, a wrong address, or somebody
    /// in between. The client sends [`WRONG_KEY_ALERT`]; calling again will not help.
    #[error("the server's key is not the expected one")]
    WrongKey,
    /// Our fault: no protocol was given, or one whose name is not 1 to 255 bytes long.
    #[error("no protocol, or one with an impossible name")]
    Alpn,
    /// Our fault: rustls refused our own key or settings.
    #[error("rustls refused our key or settings: {0}")]
    Setup(#[from] rustls::Error),
    /// Our fault: our own certificate could not be made.
    #[error("our certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// The server's verifier: one certificate, any Ed25519 key.
#[derive(Debug)]
struct AnyKey;

impl ClientCertVerifier for AnyKey {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[RootHint] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        lone_key(end_entity, intermediates).map_err(refusal)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &ED25519_ONLY)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ED25519_ONLY.supported_schemes()
    }
}

/// The client's verifier: one certificate, with exactly the pinned key if one is pinned.
#[derive(Debug)]
struct ServerKey {
    pinned: Option<[u8; 32]>,
}

impl ServerCertVerifier for ServerKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let key = lone_key(end_entity, intermediates).map_err(refusal)?;
        if self.pinned.is_some_and(|pinned| pinned != key) {
            return Err(refusal(TlsError::WrongKey));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &ED25519_ONLY)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ED25519_ONLY.supported_schemes()
    }
}

fn client(
    identity: &TlsIdentity,
    server: Option<[u8; 32]>,
    alpn: &[u8],
) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerKey { pinned: server }))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified.clone())));
    config.alpn_protocols = protocols(&[alpn])?;
    config.enable_early_data = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn lone_key(
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Result<[u8; 32], TlsError> {
    if !intermediates.is_empty() {
        return Err(TlsError::Chain);
    }
    key_of(end_entity)
}

/// The rustls error that refuses a peer with the alert we want it to see.
fn refusal(error: TlsError) -> rustls::Error {
    rustls::Error::InvalidCertificate(match error {
        TlsError::WrongKey => CertificateError::ApplicationVerificationFailure,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}

fn ed25519_key(spki: &[u8]) -> Option<[u8; 32]> {
    spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()
}

fn protocols(alpn: &[&[u8]]) -> Result<Vec<Vec<u8>>, TlsError> {
    // An empty list would switch the check off: everything would be accepted.
    if alpn.is_empty() || alpn.iter().any(|name| !(1..=255).contains(&name.len())) {
        return Err(TlsError::Alpn);
    }
    Ok(alpn.iter().map(|name| name.to_vec()).collect())
}

/// Passed to rustls explicitly: its process-wide default is ambiguous, and panics, as soon as some
/// dependency links a second crypto library.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        // AES-128 first, as the cheapest per packet; QUIC cannot start without it in the list.
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        // What is recorded today must stay secret from tomorrow's quantum computers; plain X25519
        // remains for clients in languages whose TLS library has no ML-KEM yet.
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
        signature_verification_algorithms: ED25519_ONLY,
        ..aws_lc_rs::default_provider()
    })
}

/// Signs the certificate with the key that rustls holds. rcgen's own key pair would do it too, but
/// keeps a copy of the secret that nobody wipes.
struct CertificateSigner<'a> {
    key: &'a dyn SigningKey,
    public_key: [u8; 32],
}

impl rcgen::PublicKeyData for CertificateSigner<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ED25519
    }
}

impl rcgen::SigningKey for CertificateSigner<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.key
            .choose_scheme(&[SignatureScheme::ED25519])
            .and_then(|signer| signer.sign(message).ok())
            .ok_or(rcgen::Error::RemoteKeyError)
    }
}

/// The only handshake signatures we offer to check, and check.
static ED25519_ONLY: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::aws_lc_rs::ED25519],
    mapping: &[(SignatureScheme::ED25519, &[webpki::aws_lc_rs::ED25519])],
};

/// DER of a PKCS#8 version 1 Ed25519 private key up to the 32 bytes of seed (RFC 8410, section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, // PrivateKeyInfo, 46 bytes
    0x02, 0x01, 0x00, // version 1
    0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, // id-Ed25519
    0x04, 0x22, 0x04, 0x20, // octet string in an octet string, 32 bytes
];

/// DER of an Ed25519 SubjectPublicKeyInfo up to the 32 bytes of key (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, // SubjectPublicKeyInfo, 42 bytes
    0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, // id-Ed25519
    0x03, 0x21, 0x00, // bit string, 32 bytes, none of the last one's bits unused
];

#[cfg(test)]
mod tests;
