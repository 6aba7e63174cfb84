//! Validated names. A value that exists is a name that DNS, files and URLs can carry.

use std::fmt;
use std::str::FromStr;

/// Says why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what} name: {why}")]
pub struct NameError {
    pub what: &'static str,
    pub text: String,
    pub why: &'static str,
}

/// Longest DNS label, RFC 1035 section 2.3.4.
const LABEL_MAX: usize = 63;

/// A host label after RFC 1123 section 2.1: letters, digits and inner hyphens, in lower case.
fn check_label(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > LABEL_MAX {
        return Err("it must have 1 to 63 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err("only letters, digits and hyphens are allowed");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("it must not begin or end with a hyphen");
    }
    Ok(())
}

/// A label for things that DNS does not see: letters, digits, and `_ . : -` after the first character.
fn check_token(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > LABEL_MAX {
        return Err("it must have 1 to 63 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.:-".contains(&b)) {
        return Err("only letters, digits and _ . : - are allowed");
    }
    if !text.as_bytes()[0].is_ascii_alphanumeric() {
        return Err("it must begin with a letter or a digit");
    }
    Ok(())
}

/// A label that also stands in URLs between slashes, before a colon, and beside words that have a meaning there.
fn check_image(text: &str) -> Result<(), &'static str> {
    check_token(text)?;
    if text.contains(':') {
        return Err("it must not contain a colon");
    }
    if IMAGE_WORDS.contains(&text) {
        return Err("this word has a meaning of its own in the paths of images");
    }
    Ok(())
}

/// A label that stands in URLs and before an `@` that says whose secret it is.
fn check_secret(text: &str) -> Result<(), &'static str> {
    check_token(text)?;
    if text.contains(':') { Err("it must not contain a colon") } else { Ok(()) }
}

/// Words that stand in paths where an image's name could.
const IMAGE_WORDS: [&str; 5] = ["sha256", "traffic", "diff", "gc", "verify"];

macro_rules! names {
    ($($(#[$doc:meta])* $type:ident, $what:literal, $check:path;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Box<str>);

        impl $type {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            /// Trims and lowers the case before it checks.
            fn from_str(text: &str) -> Result<Self, NameError> {
                let lowered = text.trim().to_ascii_lowercase();
                match $check(&lowered) {
                    Ok(()) => Ok($type(lowered.into())),
                    Err(why) => Err(NameError { what: $what, text: text.to_owned(), why }),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    /// A node's name: one host label, its host name in the cluster's domain.
    NodeName, "node", check_label;
    /// A BMC's name: one host label.
    BmcName, "BMC", check_label;
    /// A group's name.
    GroupName, "group", check_token;
    /// A profile's name.
    ProfileName, "profile", check_token;
    /// A network's name.
    NetworkName, "network", check_token;
    /// An image's name.
    ImageName, "image", check_image;
    /// The name of an image's version.
    ImageTag, "tag", check_image;
    /// A secret's name.
    SecretName, "secret", check_secret;
}

#[cfg(test)]
mod tests {
    use crate::base::{GroupName, NodeName};

    #[test]
    fn node_names_are_host_labels() {
        assert_eq!("NID001 ".parse::<NodeName>().unwrap().as_str(), "nid001");
        for bad in ["", "-a", "a-", "a.b", "a_b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn group_names_allow_a_little_more() {
        assert_eq!("rack_1.a:b".parse::<GroupName>().unwrap().as_str(), "rack_1.a:b");
        assert!("_x".parse::<GroupName>().is_err());
        assert!("a b".parse::<GroupName>().is_err());
    }
}
