//! The handshake as rustls runs it, in memory, with honest and dishonest ends.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use rustls::sign::Signer;
use rustls::{
    AlertDescription, CipherSuite, ClientConnection, Connection, HandshakeKind, NamedGroup,
    PeerMisbehaved, ServerConnection, SignatureAlgorithm,
};

use super::*;

#[test]
fn a_handshake_gives_each_side_the_others_key() {
    let (alice, directory) = (identity(1), identity(2));
    let pair = handshake(client(&alice, &directory), server(&directory)).expect("all is well");
    assert_eq!(proven_key(&pair.client), directory.public_key());
    assert_eq!(proven_key(&pair.server), alice.public_key());
    assert_eq!(pair.client.alpn_protocol(), Some(ALPN_PEER));
    assert_eq!(pair.server.alpn_protocol(), Some(ALPN_PEER));
}

#[test]
fn the_key_exchange_is_post_quantum() {
    let pair =
        handshake(client(&identity(1), &identity(2)), server(&identity(2))).expect("all is well");
    for side in [&pair.client, &pair.server] {
        let group = side
            .negotiated_key_exchange_group()
            .expect("the handshake is over");
        assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
        let suite = side
            .negotiated_cipher_suite()
            .expect("the handshake is over");
        assert_eq!(suite.suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
    }
}

#[test]
fn plain_x25519_is_the_only_other_group_and_works() {
    let groups: Vec<_> = provider()
        .kx_groups
        .iter()
        .map(|group| group.name())
        .collect();
    assert_eq!(groups, [NamedGroup::X25519MLKEM768, NamedGroup::X25519]);

    let old = CryptoProvider {
        kx_groups: vec![kx_group::X25519],
        ..(*provider()).clone()
    };
    let client = bare_client(old, &identity(2))
        .with_client_cert_resolver(only(identity(1).certified.as_ref().clone()));
    let pair = handshake(client, server(&identity(2))).expect("X25519 is allowed");
    let group = pair
        .server
        .negotiated_key_exchange_group()
        .expect("the handshake is over");
    assert_eq!(group.name(), NamedGroup::X25519);
}

#[test]
fn every_handshake_is_a_full_one_even_if_one_side_would_resume() {
    let (alice, directory) = (identity(1), identity(2));
    let mut eager_client = client(&alice, &directory);
    eager_client.resumption = Resumption::in_memory_sessions(4);
    let mut eager_server = server(&directory);
    eager_server.send_tls13_tickets = 2;
    eager_server.session_storage = rustls::server::ServerSessionMemoryCache::new(4);
    let cases = [
        (eager_client, server(&directory)),
        (client(&alice, &directory), eager_server),
    ];
    for (client, server) in cases {
        let (client, server) = (Arc::new(client), Arc::new(server));
        for _ in 0..3 {
            let pair = handshake(client.clone(), server.clone()).expect("all is well");
            assert_eq!(pair.client.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(pair.server.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

#[test]
fn early_data_is_off() {
    assert!(!client(&identity(1), &identity(2)).enable_early_data);
    assert_eq!(server(&identity(2)).max_early_data_size, 0);
}

#[test]
fn a_server_with_another_key_is_refused_by_an_alert_of_its_own() {
    let failure = failure(client(&identity(1), &identity(2)), server(&identity(3)));
    let error = CertificateError::ApplicationVerificationFailure;
    assert_eq!(failure.error, rustls::Error::InvalidCertificate(error));
    assert_eq!(
        (failure.by, failure.alert),
        (Side::Client, AlertDescription::AccessDenied)
    );
    assert_eq!(u8::from(failure.alert), WRONG_KEY_ALERT);
}

#[test]
fn a_server_cannot_use_a_victims_certificate() {
    let (victim, attacker) = (identity(2), identity(3));
    let mut server = server(&attacker);
    server.cert_resolver = only(forged(&victim, &attacker));
    let failure = failure(client(&identity(1), &victim), server);
    let error = CertificateError::BadSignature;
    assert_eq!(failure.error, rustls::Error::InvalidCertificate(error));
    assert_eq!(
        (failure.by, failure.alert),
        (Side::Client, AlertDescription::DecryptError)
    );
}

#[test]
fn a_client_cannot_use_a_victims_certificate() {
    let (victim, attacker) = (identity(1), identity(3));
    let mut client = client(&attacker, &identity(2));
    client.client_auth_cert_resolver = only(forged(&victim, &attacker));
    let failure = failure(client, server(&identity(2)));
    let error = CertificateError::BadSignature;
    assert_eq!(failure.error, rustls::Error::InvalidCertificate(error));
    assert_eq!(
        (failure.by, failure.alert),
        (Side::Server, AlertDescription::DecryptError)
    );
}

#[test]
fn a_client_without_certificate_is_refused() {
    let client = bare_client((*provider()).clone(), &identity(2)).with_no_client_auth();
    let failure = failure(client, server(&identity(2)));
    assert_eq!(failure.error, rustls::Error::NoCertificatesPresented);
    assert_eq!(failure.by, Side::Server);
}

#[test]
fn a_client_with_a_p256_certificate_is_refused_honest_or_not() {
    let p256 = p256();
    let mut honest = client(&identity(1), &identity(2));
    honest.client_auth_cert_resolver = only(p256.clone());
    let refused = failure(honest, server(&identity(2)));
    assert_eq!(refused.error, rustls::Error::NoCertificatesPresented);
    assert_eq!(refused.by, Side::Server);

    let mut stubborn = client(&identity(1), &identity(2));
    let key = Arc::new(UnaskedP256(p256.key));
    stubborn.client_auth_cert_resolver = only(CertifiedKey::new(p256.cert, key));
    let refused = failure(stubborn, server(&identity(2)));
    assert_eq!(refused.cause(), Some(&TlsError::NotEd25519));
    assert_eq!(refused.by, Side::Server);
}

#[test]
fn a_p256_signature_under_an_ed25519_certificate_is_refused() {
    let victim = identity(1);
    let mut client = client(&identity(3), &identity(2));
    let key = Arc::new(UnaskedP256(p256().key));
    client.client_auth_cert_resolver = only(CertifiedKey::new(victim.certified.cert.clone(), key));
    let failure = failure(client, server(&identity(2)));
    let error = PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme;
    assert_eq!(failure.error, rustls::Error::PeerMisbehaved(error));
    assert_eq!(failure.by, Side::Server);
}

#[test]
fn two_certificates_are_refused_from_either_side() {
    let (alice, directory) = (identity(1), identity(2));
    let doubled = |identity: &TlsIdentity| {
        let mut certified = (*identity.certified).clone();
        certified.cert.push(certified.cert[0].clone());
        only(certified)
    };

    let mut chatty_client = client(&alice, &directory);
    chatty_client.client_auth_cert_resolver = doubled(&alice);
    let refused = failure(chatty_client, server(&directory));
    assert_eq!(
        (refused.by, refused.cause()),
        (Side::Server, Some(&TlsError::Chain))
    );

    let mut chatty_server = server(&directory);
    chatty_server.cert_resolver = doubled(&directory);
    let refused = failure(client(&alice, &directory), chatty_server);
    assert_eq!(
        (refused.by, refused.cause()),
        (Side::Client, Some(&TlsError::Chain))
    );
}

#[test]
fn a_certificate_over_the_cap_is_refused() {
    let alice = identity(1);
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "n".repeat(CERTIFICATE_LEN_MAX));
    let long = recertified(&alice, &params);
    assert_eq!(key_of(&long.cert[0]), Err(TlsError::TooLong));

    let mut client = client(&alice, &identity(2));
    client.client_auth_cert_resolver = only(long);
    let refused = failure(client, server(&identity(2)));
    assert_eq!(
        (refused.by, refused.cause()),
        (Side::Server, Some(&TlsError::TooLong))
    );
}

#[test]
fn dates_names_and_signature_of_a_certificate_do_not_matter() {
    let (alice, directory) = (identity(1), identity(2));
    let mut params = CertificateParams::new(["elsewhere.example".into()]).expect("a host name");
    params.not_before = date_time_ymd(1980, 1, 1);
    params.not_after = date_time_ymd(1981, 1, 1);
    let mut odd = recertified(&directory, &params);
    let mut der = odd.cert[0].to_vec();
    *der.last_mut().expect("not empty") ^= 1;
    odd.cert = vec![der.into()];

    let mut server = server(&directory);
    server.cert_resolver = only(odd);
    let pair = handshake(client(&alice, &directory), server).expect("the key is right");
    assert_eq!(proven_key(&pair.client), directory.public_key());
}

#[test]
fn protocols_that_do_not_meet_fail() {
    let (alice, directory) = (identity(1), identity(2));
    let client = client_config(&alice, directory.public_key(), b"quid-peer/2").expect("valid");
    let failure = failure(client, server(&directory));
    assert_eq!(failure.error, rustls::Error::NoApplicationProtocol);
    assert_eq!(
        (failure.by, failure.alert),
        (Side::Server, AlertDescription::NoApplicationProtocol)
    );
}

#[test]
fn unusable_protocol_lists_are_refused() {
    let alice = identity(1);
    for list in [&[][..], &[b"".as_slice()], &[ALPN_PEER, &[b'a'; 256]]] {
        assert_eq!(server_config(&alice, list).err(), Some(TlsError::Alpn));
    }
    assert_eq!(
        client_config(&alice, [0; 32], b"").err(),
        Some(TlsError::Alpn)
    );
}

#[test]
fn tls_1_2_is_refused() {
    const ONLY_TLS13: [u8; 7] = [0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x04];
    const ONLY_TLS12: [u8; 7] = [0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x03];
    const NO_VERSIONS: [u8; 7] = [0xfa, 0xfa, 0x00, 0x03, 0x02, 0x03, 0x04];
    let (alice, directory) = (identity(1), identity(2));
    let cases = [
        (ONLY_TLS12, PeerIncompatible::Tls12NotOfferedOrEnabled),
        (
            NO_VERSIONS,
            PeerIncompatible::SupportedVersionsExtensionRequired,
        ),
    ];
    for (old, error) in cases {
        let (mut client, mut server) =
            ends(client(&alice, &directory).into(), server(&directory).into());
        let mut hello = written(&mut client);
        let at = hello.windows(7).position(|window| window == ONLY_TLS13);
        let at = at.expect("our own hello offers TLS 1.3 and nothing else");
        hello[at..at + 7].copy_from_slice(&old);
        assert_eq!(
            read(&mut server, &hello),
            Err(rustls::Error::PeerIncompatible(error))
        );
    }
}

#[test]
fn the_seed_of_rfc_8032_gives_its_public_key() {
    let hex = |text: &str| -> [u8; 32] {
        let bytes = HEXLOWER.decode(text.as_bytes()).expect("hexadecimal");
        bytes.try_into().expect("32 bytes")
    };
    let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let identity = TlsIdentity::new(&seed).expect("a seed");
    assert_eq!(identity.public_key(), public);
    assert_eq!(key_of(&identity.certified.cert[0]), Ok(public));
}

#[test]
fn every_seed_gives_one_readable_certificate() {
    // Many seeds, because the serial number is a hash of the key and may start with zeros.
    for seed in 0..=255 {
        let certificate = &identity(seed).certified.cert;
        assert_eq!(key_of(&certificate[0]), Ok(identity(seed).public_key()));
        assert_eq!(certificate, &identity(seed).certified.cert);
        assert!(certificate[0].len() <= 226);
    }
}

#[test]
fn no_damage_to_a_certificate_panics_or_moves_its_key() {
    let identity = identity(1);
    let whole = identity.certified.cert[0].to_vec();
    for len in 0..whole.len() {
        assert_eq!(
            key_of(&whole[..len]),
            Err(TlsError::Malformed),
            "prefix of {len} bytes"
        );
    }
    let longer = [&whole[..], &[0]].concat();
    assert_eq!(key_of(&longer), Err(TlsError::Malformed));

    let key = identity.public_key();
    let key_at = whole
        .windows(32)
        .position(|window| window == key)
        .expect("it carries it");
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(found) = key_of(&damaged) {
            assert_eq!(found, damaged[key_at..key_at + 32], "bit {bit}");
        }
    }
}

#[test]
fn a_p256_certificate_has_no_key_for_us() {
    assert_eq!(key_of(&p256().cert[0]), Err(TlsError::NotEd25519));
}

#[test]
fn the_secret_is_never_printed() {
    let identity = identity(0x41);
    let public = HEXLOWER.encode(&identity.public_key());
    let printed = format!("TlsIdentity {{ public_key: \"{public}\", .. }}");
    assert_eq!(format!("{identity:?}"), printed);
}

fn identity(seed: u8) -> TlsIdentity {
    TlsIdentity::new(&[seed; 32]).expect("any seed is a key")
}

fn client(identity: &TlsIdentity, server: &TlsIdentity) -> ClientConfig {
    client_config(identity, server.public_key(), ALPN_PEER).expect("valid settings")
}

fn server(identity: &TlsIdentity) -> ServerConfig {
    server_config(identity, &[ALPN_DIRECTORY, ALPN_PEER]).expect("valid settings")
}

/// A client that pins `server` but has not yet said who it is.
fn bare_client(
    provider: CryptoProvider,
    server: &TlsIdentity,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .expect("valid settings")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerKey {
            pinned: Some(server.public_key()),
        }))
}

fn only(certified: CertifiedKey) -> Arc<SingleCertAndKey> {
    Arc::new(SingleCertAndKey::from(certified))
}

/// The victim's certificate with the attacker's key.
fn forged(victim: &TlsIdentity, attacker: &TlsIdentity) -> CertifiedKey {
    CertifiedKey::new(
        victim.certified.cert.clone(),
        attacker.certified.key.clone(),
    )
}

/// The same key in another certificate.
fn recertified(identity: &TlsIdentity, params: &CertificateParams) -> CertifiedKey {
    let key = identity.certified.key.clone();
    let signer = CertificateSigner {
        key: &*key,
        public_key: identity.public_key(),
    };
    let certificate = params.self_signed(&signer).expect("valid parameters");
    CertifiedKey::new(vec![certificate.into()], key)
}

fn p256() -> CertifiedKey {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let params = CertificateParams::default();
    let certificate = params.self_signed(&pair).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(pair);
    let key = provider()
        .key_provider
        .load_private_key(key.into())
        .expect("a P-256 key");
    CertifiedKey::new(vec![certificate.into()], key)
}

/// A P-256 key that signs although its peer asked for Ed25519.
#[derive(Debug)]
struct UnaskedP256(Arc<dyn SigningKey>);

impl SigningKey for UnaskedP256 {
    fn choose_scheme(&self, _offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.0
            .choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// Both ends after a good handshake.
#[derive(Debug)]
struct Pair {
    client: Connection,
    server: Connection,
}

/// Who ended a handshake, why, and what the other side was told.
#[derive(Debug)]
struct Failure {
    by: Side,
    error: rustls::Error,
    alert: AlertDescription,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Client,
    Server,
}

impl Failure {
    fn cause(&self) -> Option<&TlsError> {
        match &self.error {
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                other.0.downcast_ref()
            }
            _ => None,
        }
    }
}

fn failure(client: ClientConfig, server: ServerConfig) -> Failure {
    handshake(client, server).expect_err("this handshake must fail")
}

fn handshake(
    client: impl Into<Arc<ClientConfig>>,
    server: impl Into<Arc<ServerConfig>>,
) -> Result<Pair, Failure> {
    let (mut client, mut server) = ends(client.into(), server.into());
    while client.wants_write() || server.wants_write() {
        exchange(&mut client, &mut server, Side::Server)?;
        exchange(&mut server, &mut client, Side::Client)?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Pair { client, server })
}

fn ends(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> (Connection, Connection) {
    let name = ServerName::try_from(SERVER_NAME).expect("a host name");
    let client = ClientConnection::new(client, name).expect("valid settings");
    let server = ServerConnection::new(server).expect("valid settings");
    (client.into(), server.into())
}

/// Hands what `from` has to say to `to`, which is the `reader`.
fn exchange(from: &mut Connection, to: &mut Connection, reader: Side) -> Result<(), Failure> {
    let Err(error) = read(to, &written(from)) else {
        return Ok(());
    };
    let told = read(from, &written(to)).expect_err("a refusal is told");
    let rustls::Error::AlertReceived(alert) = told else {
        panic!("{told} instead of an alert");
    };
    Err(Failure {
        by: reader,
        error,
        alert,
    })
}

fn written(from: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).expect("memory takes everything");
    }
    bytes
}

fn read(to: &mut Connection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).expect("memory gives everything");
        to.process_new_packets()?;
    }
    Ok(())
}

fn proven_key(end: &Connection) -> [u8; 32] {
    let [certificate] = end.peer_certificates().expect("a finished handshake") else {
        panic!("exactly one certificate");
    };
    key_of(certificate).expect("an Ed25519 certificate")
}
