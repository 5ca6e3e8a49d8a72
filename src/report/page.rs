//! The page around the sections: its head, its style, its table of contents, the place for signatures.

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");

/// Who signs.
const SIGNATURES: [&str; 3] = ["Prepared by", "Checked by", "Released by"];

#[derive(Debug)]
pub(super) struct Page {
    pub(super) title: String,
    /// RFC 3339, UTC.
    pub(super) created: String,
    pub(super) sections: Vec<Section>,
}

#[derive(Debug)]
pub(super) struct Section {
    /// Of the link to it; a word.
    pub(super) id: &'static str,
    pub(super) heading: String,
    pub(super) body: Markup,
}

impl Page {
    pub(super) fn html(&self) -> String {
        let markup = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="generator" content=(concat!("csflowd ", env!("CARGO_PKG_VERSION")));
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        p.product { "csflowd" }
                        h1 { (self.title) }
                        p.when { time datetime=(self.created) { (day_and_time(&self.created)) } }
                    }
                    nav aria-label="Contents" {
                        ol { @for section in &self.sections {
                            li { a href={ "#" (section.id) } { (section.heading) } }
                        } }
                    }
                    main { @for section in &self.sections {
                        section id=(section.id) {
                            h2 { (section.heading) }
                            (section.body)
                        }
                    } }
                    footer { (signatures()) }
                }
            }
        };
        markup.into_string()
    }
}

fn signatures() -> Markup {
    html! {
        table.signatures {
            caption { "Signatures" }
            thead { tr {
                td {}
                @for head in ["Name", "Date", "Signature"] { th scope="col" { (head) } }
            } }
            tbody { @for role in SIGNATURES { tr { th scope="row" { (role) } td {} td {} td {} } } }
        }
    }
}

/// `2026-01-02T03:04:05Z` as people write it.
fn day_and_time(created: &str) -> String {
    match created.split_once('T') {
        Some((day, time)) => format!("{day}, {} UTC", time.get(..5).unwrap_or(time)),
        None => created.into(),
    }
}
