//! URLs of stores in the network: what is taken, and what is refused with a sentence. Nothing here asks the network.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use keepfs_store::StoreError;
use keepfs_stores::{OpenError, OpenOptions, Schemes, Secrets, normalize_url, open};

const GOOD: &[&str] = &[
    "s3://bucket",
    "s3://bucket/a/prefix?endpoint=http://127.0.0.1:9000&region=eu-west-1&style=virtual",
    "s3://bucket?create=look",
    "webdav://me@cloud.example.org/remote.php/dav/files/me/vault",
    "webdav+http://127.0.0.1:8080/a%20place",
    "sftp://me@host.example.org:2222/srv/vault",
    "sftp://host/~/vault?identity=/home/me/.ssh/id",
    "gcs://bucket/vault",
    "azblob://account/container/vault",
    "b2://bucket/vault?bucket_id=e73ede9969c64427a54",
    "gdrive:///vault",
    "onedrive:///vault",
    "dropbox:///vault",
];

/// Some for every kind of store.
fn secrets() -> Secrets {
    let mut secrets = Secrets::none();
    for name in
        ["application_key_id", "application_key", "access_token", "access_key_id", "secret_access_key"]
    {
        secrets.insert(name, "not-a-secret".to_owned().into());
    }
    secrets
}

fn refusal(url: &str) -> String {
    match open(url, OpenOptions::default()) {
        Ok(_) => panic!("{url} was opened"),
        Err(error @ OpenError::BadUrl { .. }) => error.to_string(),
        Err(error) => panic!("{url}: {error:?}"),
    }
}

#[test]
fn every_scheme_opens_without_the_network_and_keeps_its_url() {
    let schemes = Schemes::built_in();
    for url in GOOD {
        let opened = schemes.open(url, OpenOptions::default(), &secrets());
        let store = opened.unwrap_or_else(|error| panic!("{url}: {error}"));
        let capabilities = store.capabilities();
        assert!(!capabilities.local && store.staging().is_none(), "{url}");
        assert!(capabilities.object_len_max >= 64 << 20 && capabilities.parallel > 0, "{url}");
        assert_eq!(normalize_url(url).unwrap(), *url);
        let scheme = schemes.scheme(url).unwrap();
        assert!(url.starts_with(&format!("{}://", scheme.name)));
    }
    for name in schemes.names() {
        assert!(name == "file" || GOOD.iter().any(|url| url.starts_with(&format!("{name}://"))), "{name}");
    }
}

#[test]
fn what_two_creators_hear_is_told_by_the_url() {
    let is_atomic = |url: &str| open(url, OpenOptions::default()).unwrap().capabilities().create_is_atomic;
    assert!(is_atomic("s3://bucket") && is_atomic("sftp://host/srv/vault"));
    for url in ["s3://bucket?create=checked", "s3://bucket?create=look", "sftp://h/v?create=look"] {
        assert!(!is_atomic(url), "{url}");
    }
}

#[test]
fn a_service_that_cannot_be_asked_without_secrets_says_what_it_lacks() {
    for url in ["b2://bucket?bucket_id=x", "gdrive:///v", "onedrive:///v", "dropbox:///v"] {
        match open(url, OpenOptions::default()) {
            Err(OpenError::Store(StoreError::Denied { detail })) => {
                assert!(detail.contains("store login"), "{detail}");
            }
            Ok(_) => panic!("{url} was opened"),
            Err(error) => panic!("{url}: {error}"),
        }
        assert_eq!(normalize_url(url).unwrap(), url, "its URL can be kept all the same");
    }
}

#[test]
fn secrets_in_a_url_are_refused_and_not_repeated() {
    for url in [
        "s3://key:hunter2@bucket",
        "s3://bucket?secret_access_key=hunter2",
        "webdav://me:hunter2@host/",
        "sftp://me:hunter2@host/srv",
        "azblob://account/container?sas_token=hunter2",
        "gdrive:///vault?refresh_token=hunter2",
    ] {
        let told = refusal(url);
        assert!(told.contains("store login"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn what_is_missing_or_unknown_is_named() {
    for (url, word) in [
        ("s3://", "bucket"),
        ("s3://bucket?colour=red", "colour"),
        ("s3://bucket?style=gothic", "gothic"),
        ("s3://bucket?create=maybe", "maybe"),
        ("webdav:///path", "host"),
        ("sftp://host", "directory"),
        ("azblob://account", "container"),
        ("b2://bucket", "bucket_id"),
        ("gdrive://folder", "three slashes"),
        ("sftp://host/a/../b", ".."),
    ] {
        let told = refusal(url);
        assert!(told.contains(word), "{url}: {told}");
    }
}

#[test]
fn secrets_are_asked_for_where_the_service_has_some() {
    for scheme in Schemes::built_in().names() {
        let asks = !Schemes::built_in().scheme(&format!("{scheme}://x")).unwrap().secrets.is_empty();
        assert_eq!(asks, !matches!(scheme, "file" | "sftp"), "{scheme}");
    }
    assert!(Secrets::none().is_empty());
}
