//! The table of rules.

use std::fmt;

use Status::{Default, Experimental};

/// A rule. The order is that of the table, and of findings on one line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Rule {
    /// A stage's name in upper case.
    StageNameCasing,
    /// `FROM x as y`.
    FromAsCasing,
    /// A blank line within a continuation.
    NoEmptyContinuation,
    /// Keywords in different cases.
    ConsistentInstructionCasing,
    /// Two stages of one name.
    DuplicateStageName,
    /// A stage called `scratch` or `context`.
    ReservedStageName,
    /// CMD or ENTRYPOINT in shell form.
    JSONArgsRecommended,
    /// MAINTAINER.
    MaintainerDeprecated,
    /// A FROM with an argument that nobody declares.
    UndefinedArgInFrom,
    /// A variable that nobody sets.
    UndefinedVar,
    /// A relative WORKDIR on top of whatever the base image has.
    WorkdirRelativePath,
    /// An instruction that a later one overrides.
    MultipleInstructionsDisallowed,
    /// `ENV key value`.
    LegacyKeyValueFormat,
    /// A base image for another platform.
    InvalidBaseImagePlatform,
    /// `FROM --platform=$TARGETPLATFORM`.
    RedundantTargetPlatform,
    /// An ARG or ENV whose name tells of a secret.
    SecretsUsedInArgOrEnv,
    /// A FROM that needs a build argument.
    InvalidDefaultArgInFrom,
    /// `FROM --platform=linux/amd64`.
    FromPlatformFlagConstDisallowed,
    /// A source that the ignore file hides.
    CopyIgnoredFile,
    /// `EXPOSE 80/TCP`.
    ExposeProtoCasing,
    /// `EXPOSE 127.0.0.1:80:80`.
    ExposeInvalidFormat,
    /// A comment that does not describe what it stands before.
    InvalidDefinitionDescription,
}

/// Whether a rule is in force when nobody asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It is, until it is skipped.
    Default,
    /// It is not, until it is asked for; then no `skip` turns it off.
    Experimental,
}

/// A line of the table.
struct Entry {
    rule: Rule,
    name: &'static str,
    description: &'static str,
    advice: &'static str,
    status: Status,
}

const fn entry(
    rule: Rule,
    status: Status,
    name: &'static str,
    description: &'static str,
    advice: &'static str,
) -> Entry {
    Entry {
        rule,
        name,
        description,
        advice,
        status,
    }
}

/// Names and descriptions are BuildKit's, since people search for them and name them in `skip=`.
const TABLE: [Entry; 22] = [
    entry(
        Rule::StageNameCasing,
        Default,
        "StageNameCasing",
        "Stage names should be lowercase",
        "write the name in lower case; --from and --target find it in any case, FROM in lower case only",
    ),
    entry(
        Rule::FromAsCasing,
        Default,
        "FromAsCasing",
        "The 'as' keyword should match the case of the 'from' keyword",
        "write FROM … AS, or from … as",
    ),
    entry(
        Rule::NoEmptyContinuation,
        Default,
        "NoEmptyContinuation",
        "Empty continuation lines will become errors in a future release",
        "remove the blank line, or make it a comment",
    ),
    entry(
        Rule::ConsistentInstructionCasing,
        Default,
        "ConsistentInstructionCasing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
        "write every keyword like most of the file's",
    ),
    entry(
        Rule::DuplicateStageName,
        Default,
        "DuplicateStageName",
        "Stage names should be unique",
        "rename one of the stages: FROM means the one before it, --from and --target mean the last one",
    ),
    entry(
        Rule::ReservedStageName,
        Default,
        "ReservedStageName",
        "Reserved words should not be used as stage names",
        "rename the stage",
    ),
    entry(
        Rule::JSONArgsRecommended,
        Default,
        "JSONArgsRecommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
        "write [\"program\", \"argument\"], so that signals reach the program and not a shell; or say with SHELL that a shell is meant",
    ),
    entry(
        Rule::MaintainerDeprecated,
        Default,
        "MaintainerDeprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
        "write LABEL org.opencontainers.image.authors=\"…\"",
    ),
    entry(
        Rule::UndefinedArgInFrom,
        Default,
        "UndefinedArgInFrom",
        "FROM command must use declared ARGs",
        "declare it with ARG before the first FROM",
    ),
    entry(
        Rule::UndefinedVar,
        Default,
        "UndefinedVar",
        "Variables should be defined before their use",
        "declare it with ARG or set it with ENV in this stage; an ARG before the first FROM must be declared again",
    ),
    entry(
        Rule::WorkdirRelativePath,
        Default,
        "WorkdirRelativePath",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
        "begin with an absolute WORKDIR",
    ),
    entry(
        Rule::MultipleInstructionsDisallowed,
        Default,
        "MultipleInstructionsDisallowed",
        "Multiple instructions of the same type should not be used in the same stage",
        "remove this one: a later one in the stage overrides it",
    ),
    entry(
        Rule::LegacyKeyValueFormat,
        Default,
        "LegacyKeyValueFormat",
        "Legacy key/value format with whitespace separator should not be used",
        "separate key and value by =, and quote a value that has blanks",
    ),
    entry(
        Rule::InvalidBaseImagePlatform,
        Default,
        "InvalidBaseImagePlatform",
        "Base image platform does not match expected target platform",
        "use an image that exists for this platform, or build for another one with --platform",
    ),
    entry(
        Rule::RedundantTargetPlatform,
        Default,
        "RedundantTargetPlatform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        "remove the flag",
    ),
    entry(
        Rule::SecretsUsedInArgOrEnv,
        Default,
        "SecretsUsedInArgOrEnv",
        "Sensitive data should not be used in the ARG or ENV commands",
        "everyone who has the image can read it; use RUN --mount=type=secret",
    ),
    entry(
        Rule::InvalidDefaultArgInFrom,
        Default,
        "InvalidDefaultArgInFrom",
        "Default value for global ARG results in an empty or invalid base image name",
        "give the ARG a default with which the file builds without build arguments",
    ),
    entry(
        Rule::FromPlatformFlagConstDisallowed,
        Default,
        "FromPlatformFlagConstDisallowed",
        "FROM --platform flag should not use a constant value",
        "remove the flag, use $BUILDPLATFORM, or say the platform in the stage's name",
    ),
    entry(
        Rule::CopyIgnoredFile,
        Default,
        "CopyIgnoredFile",
        "Attempting to Copy file that is excluded by .dockerignore",
        "remove the path from the ignore file, or the source from the instruction",
    ),
    entry(
        Rule::ExposeProtoCasing,
        Default,
        "ExposeProtoCasing",
        "Protocol in EXPOSE instruction should be lowercase",
        "write tcp, udp or sctp",
    ),
    entry(
        Rule::ExposeInvalidFormat,
        Default,
        "ExposeInvalidFormat",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
        "name the container's port only; where it is published is said when the container is run",
    ),
    entry(
        Rule::InvalidDefinitionDescription,
        Experimental,
        "InvalidDefinitionDescription",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`",
        "describe the argument or stage by its name; if the comment is about something else, put an empty comment below it",
    ),
];

impl Rule {
    /// Every rule, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|entry| entry.rule)
    }

    /// The name, as `skip=` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.entry().name
    }

    /// What it is about, in one sentence.
    #[must_use]
    pub const fn description(self) -> &'static str {
        self.entry().description
    }

    /// What to do about a finding.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        self.entry().advice
    }

    /// Whether it is in force when nobody asks for it.
    #[must_use]
    pub const fn status(self) -> Status {
        self.entry().status
    }

    const fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_rules() {
        for (number, rule) in Rule::all().enumerate() {
            assert_eq!(rule as usize, number, "{rule}");
            assert_eq!(format!("{rule:?}"), rule.name());
        }
    }
}
