//! Where an image is looked for: mirrors first, its own registry last.

use super::options::RegistryOptions;
use crate::oci::Reference;

/// A repository that has, or may have, the image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) registry: String,
    pub(super) repository: String,
    pub(super) kind: PlaceKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PlaceKind {
    /// Stands in for another; whatever goes wrong there, the next place is tried.
    Mirror,
    /// What the reference names.
    Origin,
}

/// In the order in which they are tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Places {
    pub(super) first: Vec<Place>,
    /// Whose error counts.
    pub(super) last: Place,
}

/// The places for `reference`.
pub(super) fn places(options: &RegistryOptions, reference: &Reference) -> Places {
    let maps = options.maps.iter();
    let mapped = maps.filter(|(registry, _)| names_the_same(registry, reference.registry()));
    let mapped = mapped.flat_map(|(_, mirrors)| mirrors);
    let for_hub = options.mirrors.iter().filter(|_| reference.registry() == HUB);
    let mut first: Vec<Place> = mapped.chain(for_hub).map(|mirror| place(mirror, reference)).collect();
    let only_mirror = first.pop_if(|_| options.skip_default_registry_fallback);
    let last = only_mirror.unwrap_or_else(|| Place {
        registry: reference.registry().to_owned(),
        repository: reference.repository().to_owned(),
        kind: PlaceKind::Origin,
    });
    Places { first, last }
}

const HUB: &str = "docker.io";

/// People write Docker Hub in several ways.
fn names_the_same(written: &str, registry: &str) -> bool {
    let written = without_scheme(written).trim_end_matches('/');
    match written {
        "index.docker.io" | "registry-1.docker.io" => registry == HUB,
        written => written == registry,
    }
}

/// `[scheme://]host[:port][/prefix]`
fn place(mirror: &str, reference: &Reference) -> Place {
    let (registry, prefix) = match without_scheme(mirror).split_once('/') {
        Some((registry, prefix)) => (registry, prefix.trim_matches('/')),
        None => (without_scheme(mirror), ""),
    };
    let repository = match prefix {
        "" => reference.repository().to_owned(),
        prefix => format!("{prefix}/{}", reference.repository()),
    };
    Place {
        registry: registry.to_owned(),
        repository,
        kind: PlaceKind::Mirror,
    }
}

fn without_scheme(text: &str) -> &str {
    text.split_once("://").map_or(text, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_first_and_the_origin_last() {
        let options = RegistryOptions {
            mirrors: vec!["https://m.example:5000/hub/".to_owned()],
            maps: [
                ("index.docker.io".to_owned(), vec!["one.example".to_owned()]),
                (
                    "h.io".to_owned(),
                    vec!["two.example/a/b".to_owned(), "three.example".to_owned()],
                ),
            ]
            .into(),
            ..RegistryOptions::default()
        };
        let found = |options: &RegistryOptions, reference: &str| -> Vec<String> {
            let Places { first, last } = places(options, &reference.parse().unwrap());
            let name = |place: Place| format!("{}/{}", place.registry, place.repository);
            first.into_iter().chain([last]).map(name).collect()
        };
        assert_eq!(
            found(&options, "debian"),
            [
                "one.example/library/debian",
                "m.example:5000/hub/library/debian",
                "docker.io/library/debian"
            ]
        );
        assert_eq!(
            found(&options, "h.io/x"),
            ["two.example/a/b/x", "three.example/x", "h.io/x"]
        );
        assert_eq!(found(&options, "other.io/x"), ["other.io/x"]);
        let only = RegistryOptions {
            skip_default_registry_fallback: true,
            ..options
        };
        assert_eq!(found(&only, "h.io/x"), ["two.example/a/b/x", "three.example/x"]);
        assert_eq!(found(&only, "other.io/x"), ["other.io/x"]);
    }
}
