//! What the documentation shows is what the tests run: a page that says something else fails here.

use std::fs;

use adapters::declared::Plan;

use crate::{context, everywhere, root};

const PAGE: &str = include_str!("../../../docs/src/devices/mapping-file.md");

/// What stands between two lines of a page.
fn block<'p>(page: &'p str, begin: &str, end: &str) -> &'p str {
    let start = page.find(begin).unwrap_or_else(|| panic!("the page has no {begin}")) + begin.len();
    let length = page[start..].find(end).unwrap_or_else(|| panic!("nothing ends {begin}"));
    &page[start..start + length]
}

#[test]
fn the_first_file_of_the_page_does_what_the_page_says() {
    let file = block(PAGE, "cat > vendors/lungo.toml <<'END'\n", "END\n");
    let message = block(PAGE, "cat > message.json <<'END'\n", "END\n");
    let plan = Plan::read(file).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let devices = [everywhere("LU-0042")];
    let adapter = plan.adapter();
    let mapping = (adapter.shapes[0].map)(message.as_bytes(), &context(&devices));
    let adapters::Mapping::Publish(publication) = mapping else { panic!("not published: {mapping:?}") };
    assert_eq!((publication.bundle.list("entry").len(), publication.issues.len()), (3, 0));
}

#[test]
fn the_second_file_of_the_page_is_the_one_that_the_samples_run() {
    let file = fs::read_to_string(root().join("plastra/plastra.toml")).expect("a text");
    assert_eq!(block(PAGE, "```toml plastra.toml\n", "```\n"), file);
    let upload = fs::read_to_string(root().join("plastra/01-all.json")).expect("a text");
    assert_eq!(block(PAGE, "```json 01-all.json\n", "```\n"), upload);
}

#[test]
fn every_setting_stands_in_the_reference() {
    let reference = &PAGE[PAGE.find("## What a file says").expect("a reference")..];
    let mistakes = Plan::read(
        "x = 1\n[record]\nx = 1\n[record.device]\nx = 1\n[record.time]\nx = 1\n[[schema]]\nx = 1\n[schema.record]\nid = \"a\"\n[[schema.measurement]]\nx = 1\n[[schema.measurement.part]]\nx = 1\n",
    );
    let mistakes = mistakes.expect_err("there is no setting x");
    let unknown = mistakes.iter().filter_map(|it| it.message.split("there is no such setting here; there is ").nth(1));
    let unknown: Vec<&str> = unknown.collect();
    assert_eq!(unknown.len(), 7, "{mistakes:#?}");
    for setting in unknown.iter().flat_map(|known| known.split(", ")) {
        assert!(
            reference.contains(&format!("`{setting}`"))
                || reference.contains(&format!("`{setting}."))
                || reference.contains(&format!(".{setting}`")),
            "{setting} is not in the reference"
        );
    }
}

#[test]
fn the_module_of_the_page_is_the_one_that_is_compiled() {
    let page = include_str!("../../../docs/src/devices/writing-an-adapter.md");
    let module = include_str!("../../src/example.rs");
    let module = module.split("\n#[cfg(test)]\nmod tests").next().expect("a module");
    assert_eq!(block(page, "```rust,ignore example.rs\n", "```\n").trim_end(), module.trim_end());
}
