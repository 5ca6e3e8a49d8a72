//! Names that trained bundles rely on.

use csflowd::model::network::Network;
use csflowd::model::preset::Preset;
use tch::Device;

#[test]
fn the_parameters_of_the_flow_keep_their_names_and_shapes() {
    let network = Network::untrained(&Preset::Lite.architecture(), Device::Cpu);
    let variables = network.flow_store.variables().into_iter();
    let mut lines: Vec<String> =
        variables.map(|(name, tensor)| format!("{name} {:?}", tensor.size())).collect();
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
}
