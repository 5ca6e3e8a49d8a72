//! Which GenICam cameras are connected.

use aravis::prelude::*;
use aravis::{GvInterface, Interface, UvInterface};

use crate::capture::link::Found;

/// Asks on all networks and on the USB; takes about a second. Not at the same time from two threads.
pub(in crate::capture) fn connected() -> Vec<Found> {
    [GvInterface::instance(), UvInterface::instance()]
        .into_iter()
        .flatten()
        .flat_map(|of| found(&of))
        .collect()
}

fn found(interface: &Interface) -> Vec<Found> {
    interface.update_device_list();
    let text = |text: Option<aravis::glib::GString>| text.map(String::from).unwrap_or_default();
    let camera = |index| Found {
        id: text(interface.device_id(index)),
        vendor: text(interface.device_vendor(index)),
        model: text(interface.device_model(index)),
        serial: text(interface.device_serial_nbr(index)),
        address: text(interface.device_address(index)),
        protocol: text(interface.device_protocol(index)),
    };
    (0..interface.n_devices()).map(camera).collect()
}
