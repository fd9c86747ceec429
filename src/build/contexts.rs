//! The trees that named contexts stand for.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{BuildError, Problem};
use crate::context::{BuildContext, IgnoreFile};
use crate::plan::{CopyFrom, NamedTree, Plan, TreeSource};
use crate::rootfs::Rootfs;

/// Every named tree that a build reads, opened before it begins: an error is better early.
#[derive(Debug, Default)]
pub(crate) struct NamedTrees(BTreeMap<NamedTree, BuildContext>);

impl NamedTrees {
    /// Opens those that some step of the plan reads; the others are not even looked at.
    pub(crate) fn open(plan: &Plan) -> Result<Self, BuildError> {
        let mut trees = BTreeMap::new();
        for stage in &plan.stages {
            for step in &stage.steps {
                for tree in step.step.sources().filter_map(named) {
                    if !trees.contains_key(tree) {
                        let opened = open(tree).map_err(|error| error.at(&step.excerpt, &stage.label))?;
                        trees.insert(tree.clone(), opened);
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

fn open(tree: &NamedTree) -> Result<BuildContext, BuildError> {
    match &tree.source {
        TreeSource::Directory(path) => {
            let rootfs = open_directory(tree, path)?;
            let ignore = IgnoreFile::in_context(&rootfs)?;
            Ok(BuildContext::new(rootfs, ignore))
        }
        // Here is the place to fetch them, into a directory of the build's own. No ignore file applies to those.
        TreeSource::Git(_) | TreeSource::Url(_) => Err(Problem::UnsupportedContext {
            name: tree.name.clone(),
            value: tree.source.to_string(),
        }
        .into()),
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
