//! Which stages and images a target needs.

use super::*;

#[test]
fn only_what_the_target_needs() {
    let text = "FROM a AS one\nRUN x\nFROM b AS two\nCOPY --from=src:1 / /\nFROM c AS three\nCOPY --from=one / /\nFROM three AS four\nFROM d";
    for (wanted, stages, images) in [
        ("three", vec![0, 2], "a c"),
        ("FOUR", vec![0, 2, 3], "a c"),
        ("two", vec![1], "b src"),
        ("0", vec![0], "a"),
        ("4", vec![4], "d"),
        ("two,0", vec![0, 1], "a b src"),
        ("0,three,one", vec![0, 2], "a c"),
    ] {
        let options = PlanOptions {
            targets: wanted.split(',').map(str::to_owned).collect(),
            ..options(&[])
        };
        let plan = plan_with(text, &options).unwrap();
        let ids: Vec<usize> = plan.stages.iter().map(|stage| stage.id.0).collect();
        assert_eq!(ids, stages, "{wanted}");
        let repository = |need: &ImageNeed| need.image.source.reference().unwrap().repository().to_owned();
        let repositories: Vec<String> = plan.images.iter().map(repository).collect();
        assert_eq!(repositories.join(" ").replace("library/", ""), images, "{wanted}");
    }
    for (wanted, target) in [("two,0", 1), ("0,three,one", 0), ("THREE,four", 2)] {
        let options = PlanOptions {
            targets: wanted.split(',').map(str::to_owned).collect(),
            labels: vec![("l".to_owned(), "of the target".to_owned())],
            ..options(&[])
        };
        let plan = plan_with(text, &options).unwrap();
        assert_eq!(
            plan.products[0].stage,
            StageId(target),
            "{wanted}: the first is exported"
        );
        assert_eq!(plan.products[0].config.config.labels["l"], "of the target", "{wanted}");
        let labelled = plan
            .stages
            .iter()
            .any(|stage| stage.config.config.labels.contains_key("l"));
        assert!(!labelled, "{wanted}: a label is of the image alone");
    }
    let plan = plan_of(text);
    assert_eq!(plan.products[0].stage, StageId(4));
    assert_eq!(plan.images[0].purpose, ImageUse::Base);
}

#[test]
fn dependencies_of_stages() {
    let plan = plan_of("FROM a AS p\nFROM b AS q\nFROM p\nCOPY --from=q x /\nCOPY --from=q y /");
    assert_eq!(target(&plan).dependencies(), [StageId(0), StageId(1)]);
}
