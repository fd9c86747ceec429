//! Which entries of an index may serve a platform, and in which order. Pure.

use super::{Descriptor, Index, ManifestFormat, Platform};

/// The entries that may run on `wanted`, best first, then those that do not say what they run on. The others are added
/// to `available`.
#[must_use = "the entries are the answer"]
pub fn rank<'i>(index: &'i Index, wanted: &Platform, available: &mut Vec<String>) -> Vec<&'i Descriptor> {
    let mut ranked = Vec::new();
    for entry in index.manifests.iter().filter(|entry| is_image(entry)) {
        match &entry.platform {
            None => ranked.push((usize::MAX, entry)),
            Some(platform) => match wanted.preference(platform) {
                Some(rank) => ranked.push((rank, entry)),
                None => available.push(platform.to_string()),
            },
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, entry)| entry).collect()
}

/// An index also holds attestations, signatures and whatever else people put there.
fn is_image(entry: &Descriptor) -> bool {
    let media_type = entry.media_type.to_string();
    let mut known = [ManifestFormat::Oci, ManifestFormat::Docker]
        .into_iter()
        .flat_map(|format| [format.manifest_type(), format.index_type()]);
    known.any(|known| known.to_string() == media_type)
        && entry.artifact_type.is_none()
        && !entry.annotations.contains_key("vnd.docker.reference.type")
        && !entry.platform.as_ref().is_some_and(Platform::is_unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, MediaType};

    /// The size tells the entries apart.
    fn entry(size: u64, platform: Option<&str>) -> Descriptor {
        Descriptor {
            platform: platform.map(|text| text.parse().unwrap()),
            ..Descriptor::new(MediaType::ImageManifest, Digest::of(b""), size)
        }
    }

    #[test]
    fn ranks_what_runs_and_passes_over_what_is_no_image() {
        let mut attestation = entry(1, Some("linux/amd64"));
        let kind = (
            "vnd.docker.reference.type".to_owned(),
            "attestation-manifest".to_owned(),
        );
        attestation.annotations.extend([kind]);
        let mut artifact = entry(2, Some("linux/amd64"));
        artifact.artifact_type = Some("application/x".to_owned());
        let mut foreign = entry(3, Some("linux/amd64"));
        foreign.media_type = MediaType::from("text/plain");
        let mut docker = entry(4, Some("linux/amd64"));
        docker.media_type = ManifestFormat::Docker.manifest_type();
        let entries = vec![
            attestation,
            artifact,
            foreign,
            entry(5, None),
            entry(6, Some("linux/arm64")),
            docker,
            entry(7, Some("linux/amd64/v3")),
            entry(8, Some("linux/amd64/v2")),
            entry(9, Some("unknown/unknown")),
            entry(10, Some("linux/amd64")),
        ];
        let index = Index::new(ManifestFormat::Oci, entries);
        let ranked = |platform: &str| {
            let mut available = Vec::new();
            let ranked = rank(&index, &platform.parse().unwrap(), &mut available);
            (
                ranked.iter().map(|entry| entry.size).collect::<Vec<_>>(),
                available.len(),
            )
        };
        assert_eq!(ranked("linux/amd64"), (vec![4, 10, 5], 3));
        assert_eq!(ranked("linux/amd64/v3"), (vec![7, 8, 4, 10, 5], 1));
        assert_eq!(ranked("linux/s390x"), (vec![5], 5));
    }
}
