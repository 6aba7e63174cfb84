//! Secrets in documents: `{{ secret('munge') }}`. A document that asks for one is rendered here, by the head, and for
//! a node that reached the secret's level; everything else nodes render themselves.
//!
//! The open path cannot leak one: it has no `SecretContext`, and without one a template has nothing to ask.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::base::Level;
use crate::engine::cloud_init::template::{self, MISSING};
use crate::engine::cloud_init::{View, preview};

/// What templates may ask: the value of a secret by its name, or why it is not given. Whoever makes one has checked
/// who asks.
#[derive(Clone)]
pub struct SecretContext(pub(crate) Arc<Lookup>);

pub(crate) type Lookup = dyn Fn(&str, Form) -> Result<Zeroizing<String>, String> + Send + Sync;

/// How a value is written into a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As it is; it must be text.
    Text,
    /// For `write_files` with `encoding: b64`, and for what is no text, such as munge's key.
    Base64,
}

/// Why a document is not given.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{document}: line {line}: {text}")]
pub struct Refused {
    /// As in its URL: `user-data`, `compute.yaml` …
    pub document: String,
    pub line: usize,
    pub text: String,
}

impl SecretContext {
    pub fn new(lookup: impl Fn(&str) -> Result<Zeroizing<Vec<u8>>, String> + Send + Sync + 'static) -> Self {
        SecretContext(Arc::new(move |name, form| form.write(name, &lookup(name)?)))
    }

    /// For previews: says which secret will stand there.
    #[must_use]
    pub fn placeholders() -> Self {
        SecretContext(Arc::new(|name, _| Ok(Zeroizing::new(format!("<secret {name}>")))))
    }
}

impl Form {
    /// The form of this name, as templates write it.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn named(name: Option<&str>) -> Result<Form, String> {
        match name {
            None => Ok(Form::Text),
            Some("base64") => Ok(Form::Base64),
            Some(other) => Err(format!("{other:?} is no form of a secret; known is 'base64'")),
        }
    }

    fn write(self, name: &str, value: &Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, String> {
        match self {
            Form::Base64 => Ok(Zeroizing::new(STANDARD.encode(value))),
            Form::Text => match std::str::from_utf8(value) {
                Ok(text) => Ok(Zeroizing::new(text.to_owned())),
                Err(_) => Err(format!("{name}: is no text; write secret('{name}', 'base64')")),
            },
        }
    }
}

impl fmt::Debug for SecretContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretContext")
    }
}

/// Holds a document of the open path to what may stand there. `needs`: the level that its policy asks for.
///
/// # Errors
/// It asks for secrets, or for more than an address.
pub fn check_open(document: &str, content: &[u8], needs: Level) -> Result<(), Refused> {
    if needs > Level::Address {
        let text = format!("needs level {needs}, and is given on the secure path alone");
        return Err(Refused { document: document.to_owned(), line: 1, text });
    }
    let source = std::str::from_utf8(content).ok().and_then(template::template);
    match source.and_then(template::asks_for_secrets) {
        None => Ok(()),
        Some(line) => {
            let text = "asks for secrets, which are given on the secure path alone".to_owned();
            Err(Refused { document: document.to_owned(), line, text })
        }
    }
}

/// A document as the secure path gives it. One that asks for no secret stays as it is.
///
/// # Errors
/// A secret is not there or not for this node, or the template does not render with what the head knows.
pub fn render(
    view: &View<'_>,
    document: &str,
    content: &[u8],
    secrets: &SecretContext,
) -> Result<Zeroizing<Vec<u8>>, Refused> {
    let refused = |line, text| Refused { document: document.to_owned(), line, text };
    let source = std::str::from_utf8(content).ok().and_then(template::template);
    let Some(source) = source.filter(|source| template::asks_for_secrets(source).is_some()) else {
        return Ok(Zeroizing::new(content.to_vec()));
    };
    let variables = preview::known_variables(&view.meta_data());
    let rendered = template::render_with(source, &variables, secrets);
    let text = Zeroizing::new(rendered.map_err(|error| refused(error.line, error.text))?);
    // What only the node knows would be wrong here, and a node would not see it.
    if let Some((index, line)) = text.lines().enumerate().find(|(_, line)| line.contains(MISSING)) {
        let name = line.split(MISSING).nth(1).unwrap_or_default();
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || "_-".contains(*c)).collect();
        let text = format!("the head does not know the variable {name:?}, and renders what asks for secrets");
        return Err(refused(index.saturating_add(1), text));
    }
    Ok(Zeroizing::new(text.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zeroize::Zeroizing;

    use crate::base::Level;
    use crate::engine::cloud_init::secure::{SecretContext, check_open, render};
    use crate::engine::cloud_init::{View, template};
    use crate::model::{Change, Inventory, Node, NodeId, Revision, Site, Snapshot};

    const ASKS: &str = "## template: jinja\n#cloud-config\nkey: {{ secret('munge') | upper }}\nid: {{ v1.local_hostname }}\n";

    fn secrets() -> SecretContext {
        SecretContext::new(|name| match name {
            "munge" => Ok(Zeroizing::new(b"value {{ 1 }}".to_vec())),
            "key" => Ok(Zeroizing::new(vec![0xff, 0])),
            _ => Err(format!("{name}: it needs level 2, and the node has reached 1")),
        })
    }

    fn rendered(content: &str) -> Result<String, String> {
        let mut inventory = Inventory::default();
        inventory.apply(&Change::PutNode(Arc::new(Node::new(NodeId(1), "nid001".parse().unwrap()))));
        let snapshot = Snapshot::compile(Revision(1), Arc::new(Site::default()), Arc::new(inventory));
        let view = View::new(&snapshot, &snapshot.inventory.nodes[&NodeId(1)]);
        let octets = render(&view, "compute.yaml", content.as_bytes(), &secrets());
        octets.map(|octets| String::from_utf8(octets.to_vec()).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_rendered_once_and_by_the_head_alone() {
        assert_eq!(rendered(ASKS).unwrap(), "#cloud-config\nkey: VALUE {{ 1 }}\nid: nid001\n");
        for untouched in
            ["#cloud-config\na: {{ secret('munge') }}\n", "## template: jinja\na: {{ v1.distro }}\n"]
        {
            assert_eq!(rendered(untouched).unwrap(), untouched);
        }
    }

    #[test]
    fn what_is_no_text_is_written_in_base64() {
        let asks = |call: &str| rendered(&format!("## template: jinja\n{{{{ {call} }}}}"));
        assert_eq!(asks("secret('key', 'base64')").unwrap(), "/wA=");
        assert!(asks("secret('key')").unwrap_err().contains("is no text; write secret('key', 'base64')"));
        assert!(asks("secret('key', 'hex')").unwrap_err().contains("\"hex\""));
    }

    #[test]
    fn a_policy_keeps_a_document_off_the_open_path() {
        let error = check_open("compute.yaml", b"#cloud-config\n", Level::Tpm).unwrap_err();
        assert!(error.to_string().contains("compute.yaml") && error.text.contains("level 2"), "{error}");
    }

    #[test]
    fn a_refusal_names_document_line_and_reason() {
        let error = rendered("## template: jinja\n#cloud-config\na: {{ secret('disk') }}\n").unwrap_err();
        assert!(error.starts_with("compute.yaml: line 3: ") && error.contains("needs level 2"), "{error}");
        let error = rendered("## template: jinja\n{{ secret('munge') }}{{ v1.distro }}\n").unwrap_err();
        assert!(error.contains("compute.yaml") && error.contains("\"distro\""), "{error}");
        let error = rendered("## template: jinja\n{{ secret() }}\n").unwrap_err();
        assert!(error.contains("compute.yaml: line 2"), "{error}");
    }

    #[test]
    fn the_open_path_has_nothing_to_ask() {
        let error = check_open("compute.yaml", ASKS.as_bytes(), Level::Address).unwrap_err();
        assert_eq!((error.document.as_str(), error.line), ("compute.yaml", 3));
        for fine in [
            "#cloud-config\n# secret('a')\n",
            "## template: jinja\n{% set secret = 1 %}{{ secret }}\n",
            "\u{1f}",
        ] {
            assert_eq!(check_open("a", fine.as_bytes(), Level::Address), Ok(()), "{fine}");
        }
        // Whoever renders without a context gets an error and no placeholder.
        for hidden in [
            "{{ secret('munge') }}",
            "{% set s = secret %}{{ s('munge') }}",
            "{% if secret('munge') %}{% endif %}",
        ] {
            let error = template::render(hidden, &serde_json::Map::new()).unwrap_err();
            assert!(error.text.contains("secure path"), "{error}");
            assert!(
                check_open("a", format!("## template: jinja\n{hidden}").as_bytes(), Level::Address).is_err(),
                "{hidden}"
            );
        }
    }
}
