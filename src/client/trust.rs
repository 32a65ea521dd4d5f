//! Whom a client believes over TLS: the certificates that it is told, and nobody else; or those that the system
//! trusts.
//!
//! The system's are read from its own store when an `https` node is first named: an operator who adds or withdraws an
//! authority does it in one place, and no list that ages is built in. Nothing is asked of any network.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};

use super::error::ClientError;

/// What TLS is spoken with, believing those authorities in `authorities` (PEM) alone if there are any, else those of
/// the system if they are `needed`.
pub(super) fn tls(authorities: Option<&[u8]>, needed: bool) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
            if roots.is_empty() {
                return Err(unreadable(&"there is none in PEM"));
            }
        }
        None if needed => {
            let found = rustls_native_certs::load_native_certs();
            // Some that cannot be used are found on many systems.
            let (_added, _ignored) = roots.add_parsable_certificates(found.certs);
        }
        None => {}
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| unreadable(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn unreadable(error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Options(format!("the certificates to trust cannot be used: {error}"))
}
