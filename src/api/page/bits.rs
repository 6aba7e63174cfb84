//! The small parts that pages are made of.

use maud::{Markup, html};

use crate::base::Timestamp;

/// The head of a page: its name, a line about it, and what can be done here.
pub(crate) fn title(name: &str, about: Markup, actions: Markup) -> Markup {
    html! {
        div.title {
            div { h1 { (name) } p { (about) } }
            div.actions { (actions) }
        }
    }
}

/// The same below another page.
pub(crate) fn title_below(above: (&str, &str), name: &str, about: Markup, actions: Markup) -> Markup {
    html! {
        div.title {
            div {
                p.crumb { a href=(above.0) { (above.1) } " /" }
                h1 { (name) }
                p { (about) }
            }
            div.actions { (actions) }
        }
    }
}

/// A moment. The browser tells it in its own zone; without scripts it is UTC.
pub(crate) fn time(at: Timestamp) -> Markup {
    moment(&at.rfc3339())
}

/// The same of its text (RFC 3339).
pub(crate) fn moment(text: &str) -> Markup {
    let plain: String = text.chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect();
    html! { time datetime=(text) { (plain) " UTC" } }
}

/// Octets in the unit that people read.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut tenths = count.saturating_mul(10);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    if unit == 0 || tenths >= 1000 {
        format!("{} {}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// A number with its thousands apart.
pub(crate) fn count(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// `1 node`, `2 nodes`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A page or a card that has nothing to show, and what to do about it.
pub(crate) fn empty(head: &str, text: Markup) -> Markup {
    html! { div.empty { h2 { (head) } p { (text) } } }
}

/// The first digits of a digest.
pub(crate) fn short(digest: &str) -> &str {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.get(..12).unwrap_or(digits)
}

/// A path segment.
pub(crate) fn segment(text: &str) -> String {
    text.bytes().fold(String::new(), |escaped, octet| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
            escaped + char::from(octet).encode_utf8(&mut [0; 4])
        }
        _ => escaped + &format!("%{octet:02X}"),
    })
}

/// A link to a node.
pub(crate) fn node_link(name: &str) -> Markup {
    html! { a.mono href={ "/ui/nodes/" (segment(name)) } { (name) } }
}

/// What a form is sent to.
pub(crate) struct Form<'a> {
    /// Method and path of the API.
    pub(crate) api: (&'a str, &'a str),
    /// True: the API is asked while somebody types (it knows dry runs there).
    pub(crate) check: bool,
    /// Where to go when it is done; empty: here.
    pub(crate) then: &'a str,
    /// What is said then.
    pub(crate) done: &'a str,
    pub(crate) button: &'a str,
}

impl Form<'_> {
    /// The form around its fields. Without scripts it cannot be sent, and says so.
    pub(crate) fn around(&self, fields: Markup) -> Markup {
        self.once("", fields)
    }

    /// The same; what stands in this field of the answer is shown once, and nowhere again.
    pub(crate) fn once(&self, shown: &str, fields: Markup) -> Markup {
        let shown = Some(shown).filter(|shown| !shown.is_empty());
        let Form { api: (method, path), check, then, done, button } = self;
        html! {
            form data-api=(method) data-path=(path) data-check[*check] data-then=(then) data-done=(done)
                data-once=[shown] {
                fieldset disabled data-awaken { (fields)
                    p.verdict role="status" data-verdict {}
                    div.actions { button.main type="submit" { (button) } }
                }
                noscript { p.note.warn { "To change something here the browser must run scripts." } }
            }
        }
    }
}

/// A field: its label, what is entered, and a hint. `name` is its place in the JSON.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) label: &'a str,
    pub(crate) hint: &'a str,
    pub(crate) value: &'a str,
    /// What its text becomes: see `forms.js`.
    pub(crate) kind: &'a str,
    pub(crate) holder: &'a str,
    /// Tells fields of one name apart, where a page has several forms.
    pub(crate) scope: &'a str,
}

impl<'a> Field<'a> {
    pub(crate) fn new(name: &'a str, label: &'a str) -> Field<'a> {
        Field { name, label, hint: "", value: "", kind: "", holder: "", scope: "" }
    }

    pub(crate) fn hint(self, hint: &'a str) -> Self {
        Field { hint, ..self }
    }

    pub(crate) fn value(self, value: &'a str) -> Self {
        Field { value, ..self }
    }

    pub(crate) fn kind(self, kind: &'a str) -> Self {
        Field { kind, ..self }
    }

    pub(crate) fn scope(self, scope: &'a str) -> Self {
        Field { scope, ..self }
    }

    pub(crate) fn holder(self, holder: &'a str) -> Self {
        Field { holder, ..self }
    }

    fn kind_of(&self) -> Option<&'a str> {
        Some(self.kind).filter(|kind| !matches!(*kind, "" | "text" | "leave"))
    }

    fn empty_of(&self) -> Option<&'a str> {
        Some(self.kind).filter(|kind| matches!(*kind, "text" | "leave"))
    }

    fn described(&self) -> String {
        if self.hint.is_empty() {
            format!("{}-wrong", self.id())
        } else {
            format!("{0}-hint {0}-wrong", self.id())
        }
    }

    fn id(&self) -> String {
        format!("f{}-{}", self.scope, self.name)
    }

    fn around(&self, control: Markup) -> Markup {
        html! {
            div.field {
                label for=(self.id()) { (self.label) }
                (control)
                @if !self.hint.is_empty() { span.hint id={ (self.id()) "-hint" } { (self.hint) } }
                span.wrong role="alert" data-wrong id={ (self.id()) "-wrong" } {}
            }
        }
    }

    /// One line of text.
    pub(crate) fn line(&self) -> Markup {
        self.input("text")
    }

    pub(crate) fn secret(&self) -> Markup {
        self.input("password")
    }

    fn input(&self, input: &str) -> Markup {
        let holder = Some(self.holder).filter(|holder| !holder.is_empty());
        self.around(html! {
            input id=(self.id()) name=(self.name) type=(input) value=(self.value) placeholder=[holder]
                autocomplete="off"
                spellcheck="false" autocapitalize="off" data-as=[self.kind_of()] data-empty=[self.empty_of()]
                aria-describedby=(self.described());
        })
    }

    /// Many lines of text.
    pub(crate) fn text(&self, rows: u8) -> Markup {
        let holder = Some(self.holder).filter(|holder| !holder.is_empty());
        self.around(html! {
            textarea.short[rows < 6] id=(self.id()) name=(self.name) rows=(rows) placeholder=[holder]
                spellcheck="false"
                data-as=[self.kind_of()] data-empty=[self.empty_of()] aria-describedby=(self.described()) {
                "\n" (self.value)
            }
        })
    }

    /// One of these: value and what it is called.
    pub(crate) fn choice(&self, choices: &[(&str, &str)]) -> Markup {
        self.around(html! {
            select id=(self.id()) name=(self.name) data-as=[self.kind_of()]
                aria-describedby=(self.described()) {
                @for (value, label) in choices {
                    option value=(value) selected[*value == self.value] { (label) }
                }
            }
        })
    }

    /// Yes or no.
    pub(crate) fn tick(&self, on: bool) -> Markup {
        html! {
            div.field {
                div.tick {
                    input type="checkbox" id=(self.id()) name=(self.name) checked[on]
                        data-as=[self.kind_of()];
                    label for=(self.id()) { (self.label) }
                }
                @if !self.hint.is_empty() { span.hint { (self.hint) } }
            }
        }
    }
}

/// A button that does one thing by the API.
pub(crate) struct Act<'a> {
    label: &'a str,
    method: &'a str,
    path: &'a str,
    body: Option<&'a str>,
    confirm: Option<&'a str>,
    done: Option<&'a str>,
    then: Option<&'a str>,
    class: &'a str,
}

impl<'a> Act<'a> {
    pub(crate) fn new(label: &'a str, method: &'a str, path: &'a str) -> Act<'a> {
        Act { label, method, path, body: None, confirm: None, done: None, then: None, class: "" }
    }

    /// JSON that is sent.
    pub(crate) fn body(self, body: &'a str) -> Self {
        Act { body: Some(body), ..self }
    }

    /// What is asked before.
    pub(crate) fn confirm(self, text: &'a str) -> Self {
        Act { confirm: Some(text), ..self }
    }

    /// What is said when it is done.
    pub(crate) fn done(self, text: &'a str) -> Self {
        Act { done: Some(text), ..self }
    }

    /// Where to go then, if not here.
    pub(crate) fn then(self, path: &'a str) -> Self {
        Act { then: Some(path), ..self }
    }

    /// `bare`, `danger`, `main`.
    pub(crate) fn class(self, class: &'a str) -> Self {
        Act { class, ..self }
    }

    pub(crate) fn button(&self) -> Markup {
        let Act { label, method, path, body, confirm, done, then, class } = self;
        html! {
            button type="button" class=(class) data-api=(method) data-path=(path) data-body=[body]
                data-confirm=[confirm] data-verb=(label) data-done=[done] data-then=[then] { (label) }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::api::page::bits::{bytes, count, moment, segment};

    #[test]
    fn numbers_read_as_people_write_them() {
        let written = [0, 999, 1000, 1536, 12_345, 99_999_999, 3_400_000_000].map(bytes);
        assert_eq!(written, ["0 B", "999 B", "1.0 kB", "1.5 kB", "12.3 kB", "99.9 MB", "3.4 GB"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn what_others_wrote_is_escaped() {
        assert_eq!(segment("a/b c\"<"), "a%2Fb%20c%22%3C");
        assert_eq!(
            moment("2026-11-25T16:40:45.123Z").into_string(),
            "<time datetime=\"2026-11-25T16:40:45.123Z\">2026-11-25 16:40 UTC</time>"
        );
    }
}
