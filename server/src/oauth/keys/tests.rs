//! Tests of signing with a clock that is moved.

use super::*;
use crate::config::Config;
use smart::signing::{PUBLISHED_BEFORE, ROTATE};

const START: i64 = 1_700_000_000_000_000;

async fn store() -> Store {
    let path = std::env::temp_dir().join(format!("tributary-keys-{}.sqlite", Random::system().uuid()));
    let database = format!("sqlite:{}", path.display());
    let config = Config::from_flags(&["--database", &database, "--secret-key", &"0f".repeat(32)]);
    crate::app::App::open_ready(&config).await.expect("opens").store
}

fn signer(store: &Store, clock: &Clock, key: &str) -> Signer {
    let config = Config::from_flags(&["--secret-key", key]);
    let secret = SecretKey::load(&config, &Random::system()).expect("a key");
    Signer::new(store, clock, &Random::system(), &secret)
}

fn claims(now: i64) -> Claims {
    Claims {
        issuer: "https://s".to_owned(),
        subject: "u-1".to_owned(),
        audience: "app".to_owned(),
        issued_at: now,
        expires_at: now + id_token::LIFETIME,
        auth_time: None,
        nonce: None,
        fhir_user: None,
    }
}

fn names(set: &Json) -> Vec<String> {
    set.list("keys").iter().filter_map(|key| key.str("kid").map(str::to_owned)).collect()
}

fn kid(token: &str) -> String {
    id_token::parts(token).expect("a token").kid
}

#[actix_web::test]
async fn sm_71_sm_72_a_token_can_be_verified_as_long_as_it_lives_through_every_rotation() {
    let (store, clock) = (store().await, Clock::manual(START));
    let signer = signer(&store, &clock, &"0f".repeat(32));
    let first = signer.id_token(claims(START)).await.expect("signed");
    assert_eq!(names(&signer.jwks().await.expect("a set")), [kid(&first)]);

    clock.advance(ROTATE);
    let announced = names(&signer.jwks().await.expect("a set"));
    assert_eq!(announced.len(), 2, "the successor is published");
    let old = signer.id_token(claims(clock.now())).await.expect("signed");
    assert_eq!(kid(&old), kid(&first), "and signs nothing yet");

    clock.advance(PUBLISHED_BEFORE - 1);
    let last = signer.id_token(claims(clock.now())).await.expect("signed");
    assert_eq!(kid(&last), kid(&first));
    clock.advance(1);
    let new = signer.id_token(claims(clock.now())).await.expect("signed");
    assert!(kid(&new) != kid(&first) && announced.contains(&kid(&new)));

    clock.advance(id_token::LIFETIME - 1);
    let said = signer.read(&last).await.expect("read").expect("still verifiable");
    assert_eq!(said.str("sub"), Some("u-1"));
    clock.advance(ROTATE);
    signer.id_token(claims(clock.now())).await.expect("signed");
    assert!(!names(&signer.jwks().await.expect("a set")).contains(&kid(&first)), "old keys are forgotten");
    assert!(signer.read(&last).await.expect("read").is_none());
    assert!(!signing_keys::all(&store).await.expect("read").iter().any(|key| key.kid == kid(&first)));
}

#[actix_web::test]
async fn oa_27_a_changed_token_is_not_believed() {
    let (store, clock) = (store().await, Clock::manual(START));
    let signer = signer(&store, &clock, &"0f".repeat(32));
    let token = signer.id_token(claims(START)).await.expect("signed");
    assert!(signer.read(&token).await.expect("read").is_some());
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let (header, _) = signed.split_once('.').expect("three parts");
    let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"u-2"}"#);
    let unknown = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"' OR 1=1"}"#);
    for changed in [
        format!("{header}.{payload}.{signature}"),
        format!("{signed}."),
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 256])),
        format!("{signed}.{signature}A"),
        format!("{unknown}.{}.{signature}", signed.split_once('.').expect("two").1),
    ] {
        assert!(signer.read(&changed).await.expect("read").is_none(), "{changed}");
    }
}

#[actix_web::test]
async fn oa_31_private_keys_stand_encrypted_in_the_database() {
    let (store, clock) = (store().await, Clock::manual(START));
    signer(&store, &clock, &"0f".repeat(32)).id_token(claims(START)).await.expect("signed");
    let kept = signing_keys::all(&store).await.expect("read");
    assert!(RsaKeyPair::from_pkcs8(&kept[0].private_key[NONCE..]).is_err());
    for name in ["\"d\"", "\"p\"", "\"q\"", "\"dp\"", "\"dq\"", "\"qi\""] {
        assert!(!kept[0].public_key.contains(name), "{name}");
    }
    let other = signer(&store, &clock, &"aa".repeat(32));
    assert!(other.id_token(claims(START)).await.is_err(), "another secret does not open it");
    other.make(Takeover::Now, None).await.expect("made");
    clock.advance(1);
    other.id_token(claims(START)).await.expect("its own key signs");
}

#[actix_web::test]
async fn many_first_requests_make_one_key() {
    let (store, clock) = (store().await, Clock::manual(START));
    let one = signer(&store, &clock, &"0f".repeat(32));
    let other = signer(&store, &clock, &"0f".repeat(32));
    let made = futures::future::join_all([one.keys(), other.keys(), one.keys(), other.keys()]).await;
    let first = made[0].as_ref().expect("made")[0].kid.clone();
    for keys in made {
        let keys = keys.expect("made");
        assert_eq!((keys.len(), &keys[0].kid), (1, &first));
    }
}
