//! Which object a reference means, among those that the server has. Pure.

use std::fmt;

use gix::ObjectId;
use gix::protocol::handshake::Ref;

use crate::remote::git_address::is_commit;

/// What to ask a server for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    /// This object, whatever its name.
    Commit(ObjectId),
    /// The first of these names that there is.
    Named(Vec<String>),
}

impl Wanted {
    /// What a reference in an address means; without one, what the repository itself shows first. Of a branch and a tag
    /// with one name, the branch, as in git's checkout.
    pub(super) fn of(reference: Option<&str>) -> Self {
        let Some(name) = reference else {
            return Self::Named(vec!["HEAD".to_owned()]);
        };
        if let (true, Ok(id)) = (
            is_commit(name),
            ObjectId::from_hex(name.to_ascii_lowercase().as_bytes()),
        ) {
            return Self::Commit(id);
        }
        Self::Named(match name {
            "HEAD" => vec![name.to_owned()],
            full if full.starts_with("refs/") => vec![full.to_owned()],
            short => vec![
                format!("refs/heads/{short}"),
                format!("refs/tags/{short}"),
                format!("refs/{short}"),
            ],
        })
    }
}

/// As the user may have written it.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(id) => id.fmt(f),
            Self::Named(names) => f.write_str(match names.as_slice() {
                [.., short] if names.len() > 1 => short.trim_start_matches("refs/"),
                [name, ..] => name,
                [] => "",
            }),
        }
    }
}

/// The first of `names` that is among `refs`, and its object; of an annotated tag the tag itself.
pub(super) fn choose(names: &[String], refs: &[Ref]) -> Option<(String, ObjectId)> {
    names.iter().find_map(|name| {
        let found = refs.iter().find_map(|reference| match reference {
            Ref::Peeled { full_ref_name, tag, .. } if full_ref_name == name => Some(*tag),
            Ref::Direct { full_ref_name, object } if full_ref_name == name => Some(*object),
            Ref::Symbolic {
                full_ref_name,
                tag,
                object,
                ..
            } if full_ref_name == name => Some(tag.unwrap_or(*object)),
            _ => None,
        });
        found.map(|object| (name.clone(), object))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> ObjectId {
        ObjectId::from_hex(digit.to_string().repeat(40).as_bytes()).unwrap()
    }

    fn direct(name: &str, digit: char) -> Ref {
        Ref::Direct {
            full_ref_name: name.into(),
            object: id(digit),
        }
    }

    #[test]
    fn a_branch_comes_before_a_tag_of_its_name() {
        let refs = [
            direct("HEAD", '1'),
            direct("refs/heads/main", '1'),
            direct("refs/heads/both", '2'),
            direct("refs/tags/both", '3'),
            Ref::Peeled {
                full_ref_name: "refs/tags/v1".into(),
                tag: id('4'),
                object: id('5'),
            },
            direct("refs/pull/7/head", '6'),
        ];
        let commit = "a".repeat(40);
        for (reference, expected) in [
            (None, Some(('1', "HEAD"))),
            (Some("main"), Some(('1', "refs/heads/main"))),
            (Some("both"), Some(('2', "refs/heads/both"))),
            (Some("refs/tags/both"), Some(('3', "refs/tags/both"))),
            (Some("tags/both"), Some(('3', "refs/tags/both"))),
            (Some("v1"), Some(('4', "refs/tags/v1"))),
            (Some("refs/pull/7/head"), Some(('6', "refs/pull/7/head"))),
            (Some("absent"), None),
            (Some("ma"), None),
        ] {
            let Wanted::Named(names) = Wanted::of(reference) else {
                panic!("{reference:?}");
            };
            let expected = expected.map(|(digit, name)| (name.to_owned(), id(digit)));
            assert_eq!(choose(&names, &refs), expected, "{reference:?}");
        }
        assert_eq!(Wanted::of(Some(&commit)), Wanted::Commit(id('a')));
        assert_eq!(Wanted::of(Some("absent")).to_string(), "absent");
        assert_eq!(Wanted::of(Some("refs/x")).to_string(), "refs/x");
    }
}
