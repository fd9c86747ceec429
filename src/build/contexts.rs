//! The trees that named contexts stand for.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{BuildError, Problem};
use super::input::Bringer;
use crate::context::{BuildContext, IgnoreFile};
use crate::plan::{CopyFrom, NamedTree, Plan, TreeSource};
use crate::remote::{GitSource, UrlSource};
use crate::rootfs::Rootfs;

/// Every named tree that a build reads, opened before it begins: an error is better early.
#[derive(Debug, Default)]
pub(crate) struct NamedTrees(BTreeMap<NamedTree, BuildContext>);

impl NamedTrees {
    /// Opens those that some step of the plan reads; the others are not even looked at.
    pub(crate) fn open(plan: &Plan, bringer: &mut Bringer<'_>) -> Result<Self, BuildError> {
        let mut trees: BTreeMap<NamedTree, BuildContext> = BTreeMap::new();
        for stage in &plan.stages {
            for step in &stage.steps {
                for tree in step.step.sources().filter_map(named) {
                    if !trees.contains_key(tree) {
                        let opened = open(tree, bringer).map_err(|error| error.at(&step.excerpt, &stage.label))?;
                        trees.insert(tree.clone(), opened.hiding(&bringer.own_directories()?));
                    }
                }
            }
        }
        Ok(Self(trees))
    }

    /// A tree that a step reads.
    ///
    /// # Panics
    /// When no step of the plan does.
    pub(crate) fn get(&self, tree: &NamedTree) -> &BuildContext {
        self.0.get(tree).expect("every tree that the plan reads was opened")
    }
}

fn named(from: &CopyFrom) -> Option<&NamedTree> {
    match from {
        CopyFrom::Tree(tree) => Some(tree),
        CopyFrom::Context | CopyFrom::Scratch | CopyFrom::Stage(_) | CopyFrom::Image(_) => None,
    }
}

fn open(tree: &NamedTree, bringer: &mut Bringer<'_>) -> Result<BuildContext, BuildError> {
    match &tree.source {
        TreeSource::Directory(path) => {
            let rootfs = open_directory(tree, path)?;
            let ignore = IgnoreFile::in_context(&rootfs)?;
            Ok(BuildContext::new(rootfs, ignore))
        }
        TreeSource::Git(address) => {
            let brought = bringer.repository(&GitSource::parse(address)?)?;
            Ok(BuildContext::new(open_directory(tree, &brought.path)?, None))
        }
        TreeSource::Url(address) => {
            let brought = bringer.url(&UrlSource::parse(address, None)?)?;
            // What is no archive is a tree of one file.
            let file = brought.single_file.as_deref().and_then(Path::parent);
            let root = file.unwrap_or(&brought.path);
            Ok(BuildContext::new(open_directory(tree, root)?, None))
        }
    }
}

fn open_directory(tree: &NamedTree, path: &Path) -> Result<Rootfs, BuildError> {
    let opened = Rootfs::open(path).map_err(|source| Problem::NamedContext {
        name: tree.name.clone(),
        path: path.to_owned(),
        source,
    });
    Ok(opened?)
}
