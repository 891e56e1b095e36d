//! Names of namespaces: the one that a page and its manifests use, and the one that a drill has on a cluster it shares.

/// Of a namespace, a label of RFC 1123.
const LONGEST_NAME: usize = 63;

/// How namespaces are called on the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// As the page has them: the cluster is the drill's own.
    AsDocumented,
    /// Each with this in front, which is drawn anew for every drill and stands nowhere else: what begins with it is the drill's,
    /// and taking it out of an answer leaves what the page would have seen.
    Mapped { prefix: String },
}

/// A namespace whose mapped name no cluster takes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the namespace `{name}` is too long to be mapped: {over} characters have to go, or the drill has a cluster of its own (`--dedicated`)"
)]
pub struct TooLong {
    name: String,
    over: usize,
}

impl Naming {
    /// Maps with a prefix of this drill and, where its system has several clusters, of one of them.
    pub fn mapped(drill: &str, cluster: Option<usize>) -> Self {
        let cluster = cluster.map(|index| format!("{index}-")).unwrap_or_default();
        Self::Mapped { prefix: format!("rd-{drill}-{cluster}") }
    }

    /// The name on the cluster of a namespace of the page's.
    pub fn real(&self, documented: &str) -> Result<String, TooLong> {
        let Self::Mapped { prefix } = self else { return Ok(documented.to_owned()) };
        let real = format!("{prefix}{documented}");
        match real.len().checked_sub(LONGEST_NAME) {
            Some(over) if over > 0 => Err(TooLong { name: documented.to_owned(), over }),
            _ => Ok(real),
        }
    }

    /// Whether names differ from the page's.
    pub fn maps(&self) -> bool {
        matches!(self, Self::Mapped { .. })
    }

    /// What the cluster answered, with the page's names.
    pub fn documented(&self, answer: &[u8]) -> Option<Vec<u8>> {
        let Self::Mapped { prefix } = self else { return None };
        let finder = memchr::memmem::Finder::new(prefix);
        let mut rest = answer;
        let mut text = Vec::new();
        while let Some(at) = finder.find(rest) {
            text.extend_from_slice(&rest[..at]);
            rest = &rest[at + prefix.len()..];
        }
        // Most of what a cluster answers names no namespace of ours.
        if rest.len() == answer.len() {
            return None;
        }
        text.extend_from_slice(rest);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_comes_back_as_it_went_and_is_another_one_meanwhile(name in "[a-z]([-a-z0-9]{0,40}[a-z0-9])?", drill in "[0-9a-f]{10}") {
            let naming = Naming::mapped(&drill, None);
            let real = naming.real(&name).unwrap();
            prop_assert!(real.len() <= LONGEST_NAME && real != name);
            let answer = format!("{{\"namespace\":\"{real}\",\"message\":\"in {real}.\"}}");
            let documented = naming.documented(answer.as_bytes()).unwrap();
            prop_assert_eq!(documented, format!("{{\"namespace\":\"{name}\",\"message\":\"in {name}.\"}}").into_bytes());
            // Another drill's, or another cluster's, is never mistaken for it.
            prop_assert_ne!(Naming::mapped(&drill, Some(1)).real(&name).unwrap(), real);
        }
    }

    #[test]
    fn a_name_that_gets_too_long_is_refused_with_how_much() {
        let naming = Naming::mapped("0123456789", None);
        assert!(naming.real(&"n".repeat(49)).is_ok());
        let error = naming.real(&"n".repeat(51)).unwrap_err();
        assert!(error.to_string().contains("2 characters"), "{error}");
        assert_eq!(Naming::AsDocumented.real(&"n".repeat(63)).unwrap().len(), 63);
    }

    #[test]
    fn an_answer_without_our_names_is_left_alone() {
        assert_eq!(Naming::mapped("0123456789", None).documented(b"rd-012345678-x"), None);
        assert_eq!(Naming::AsDocumented.documented(b"taiga"), None);
    }
}
