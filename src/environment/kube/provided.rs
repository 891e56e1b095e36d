//! What stands between a page and a cluster, in the words of reports.

pub(super) fn provided(dedicated: bool, served: bool) -> Vec<(&'static str, &'static str)> {
    let names = (
        "names of services",
        "a name server inside the drill leads them to it; pods are told of it, of the drill's authority and of images that the nodes have",
    );
    let mapped = (
        "namespace mapped",
        "every step is typed as the page has it, and its namespaces have names of the drill's own on this cluster",
    );
    let machine = ("the cluster", "redrill serves it itself, and its images are programs of this machine");
    let told = [(!dedicated, mapped), (true, names), (served, machine)];
    told.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what).collect()
}
