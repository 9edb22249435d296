//! No bytes panic an adapter: neither noise nor real messages that were cut, spliced or changed.

use adapters::{Context, Mapping, Shape};
use proptest::prelude::*;

use crate::{context, manifests, registry};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn noise_panics_no_adapter(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        everything(&bytes);
    }

    #[test]
    fn changed_samples_panic_no_adapter(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        length in 0_usize..40,
        with in "[-{}\\[\\]\",:0-9a-zA-Z<>/ .é]{0,12}",
    ) {
        let samples = samples();
        let mut bytes = samples[which.index(samples.len())].clone();
        let start = at.index(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, with.bytes());
        everything(&bytes);
    }
}

#[test]
fn cut_samples_panic_no_adapter_and_are_never_published_in_part() {
    for bytes in samples() {
        for end in (0..bytes.len()).step_by(53) {
            everything(&bytes[..end]);
        }
    }
}

/// Gives bytes to every shape of every vendor; what is accepted is also mapped, and mapped twice alike.
fn everything(bytes: &[u8]) {
    let context = Context { session: Some("p"), user: Some("u"), ..context(&[]) };
    for adapter in registry().all() {
        let _ = adapter.shape_of(bytes);
        for shape in adapter.shapes {
            let _ = (shape.recognises)(bytes);
            if (shape.receive)(bytes).is_ok() {
                assert_eq!(text(shape, bytes, &context), text(shape, bytes, &context));
            }
        }
    }
}

fn text(shape: &Shape, bytes: &[u8], context: &Context<'_>) -> String {
    match (shape.map)(bytes, context) {
        Mapping::Publish(publication) => publication.bundle.to_string(),
        Mapping::Send { request, .. } => request.to_string(),
        Mapping::Quarantine { issues } | Mapping::Refuse { issues } => {
            assert!(!issues.is_empty(), "{}: quarantined without a reason", shape.name);
            String::new()
        }
    }
}

fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for (_, folder, manifest) in manifests() {
        for sample in manifest.list("samples") {
            samples.push(std::fs::read(folder.join(sample.str("file").expect("a file"))).expect("a sample"));
        }
    }
    samples
}
