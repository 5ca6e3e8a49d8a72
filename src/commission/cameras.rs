//! What is connected, for people, with a section of the station file for each.

use std::fmt::Write;

use crate::capture::devices::{Device, Mode};
use crate::capture::link::Found;

/// Said where there is no camera.
pub const NONE: &str = "no camera is found

A USB or MIPI camera (V4L2): `ls /dev/video*` must show it, and this user must be in the group `video`.
A GigE Vision camera must be on a network of this machine and have an address of it.
A network camera (RTSP) cannot be found from here: copy config/examples/rtsp.toml and put its address in.
Anything else that GStreamer can open needs a pipeline of its own: see \"How to add a camera\" in the README.
To try csflowd without a camera, take config/examples/test.toml.";

/// One camera: what it is, what it sends, and the section that opens it. `number` counts from 1.
pub fn tell(device: &Device, number: usize) -> String {
    let Device { name, element, path, modes } = device;
    let mut text = format!("# {name} ({element})");
    for Mode { format, size, fps } in modes {
        let rate = if *fps > 0 { format!(", up to {fps} frames a second") } else { String::new() };
        write!(text, "\n#   {format} {size}{rate}").expect("text takes text");
    }
    if modes.is_empty() {
        text.push_str("\n#   does not say what it sends");
    }
    let Some(path) = path else {
        write!(text, "\n# write pipelines/{element}.launch: {element} ! videoconvert ! video/x-raw,format=RGB ! appsink name=frames")
            .expect("text takes text");
        return text;
    };
    // A grey camera is judged in grey.
    let format = if modes.iter().all(|mode| mode.format.starts_with("GRAY")) && !modes.is_empty() {
        "GRAY8"
    } else {
        "RGB"
    };
    let (parameters, size) = match modes.iter().find(|mode| mode.fps > 0) {
        Some(Mode { size, fps, .. }) => (
            format!(", width = {}, height = {}, fps = {fps}", size.width, size.height),
            format!("\nwidth = {}\nheight = {}", size.width, size.height),
        ),
        None => (String::new(), String::new()),
    };
    let path = path.display().to_string();
    let parameters = format!("{{ device = {path:?}{parameters}, format = \"{format}\" }}");
    write!(
        text,
        "\n[[camera]]\nid = \"camera-{number}\"\npipeline = \"v4l2.launch\"\nparameters = {parameters}\nformat = \"{format}\"{size}"
    )
    .expect("text takes text");
    text
}

/// The same of a GigE Vision or USB3 Vision camera.
pub fn tell_genicam(camera: &Found, number: usize) -> String {
    let Found { id, vendor, model, serial, address, protocol } = camera;
    format!(
        "# {vendor} {model} ({protocol}, serial number {serial}, at {address})\n[[camera]]\nid = \"camera-{number}\"\n\
         # for a colour camera that sends Bayer: genicam-bayer.launch\npipeline = \"genicam.launch\"\n\n\
         [camera.source]\nkind = \"genicam\"\ndevice = {id:?}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Size;

    fn mode(format: &str, width: u32, height: u32, fps: u32) -> Mode {
        Mode { format: format.into(), size: Size { width, height }, fps }
    }

    #[test]
    fn a_camera_comes_with_its_section() {
        let device = Device {
            name: "HD Webcam".into(),
            element: "v4l2src".into(),
            path: Some("/dev/v4l/by-id/usb-hd".into()),
            modes: vec![mode("image/jpeg", 1920, 1080, 30), mode("YUY2", 640, 480, 15)],
        };
        insta::assert_snapshot!(tell(&device, 1), @r##"
        # HD Webcam (v4l2src)
        #   image/jpeg 1920x1080, up to 30 frames a second
        #   YUY2 640x480, up to 15 frames a second
        [[camera]]
        id = "camera-1"
        pipeline = "v4l2.launch"
        parameters = { device = "/dev/v4l/by-id/usb-hd", width = 1920, height = 1080, fps = 30, format = "RGB" }
        format = "RGB"
        width = 1920
        height = 1080
        "##);
        let odd = Device { element: "decklinkvideosrc".into(), path: None, modes: Vec::new(), ..device };
        insta::assert_snapshot!(tell(&odd, 2), @r##"
        # HD Webcam (decklinkvideosrc)
        #   does not say what it sends
        # write pipelines/decklinkvideosrc.launch: decklinkvideosrc ! videoconvert ! video/x-raw,format=RGB ! appsink name=frames
        "##);
    }

    #[test]
    fn a_grey_camera_that_tells_no_rate_is_opened_as_it_is() {
        let path = Some("/dev/video7".into());
        let modes = vec![mode("GRAY8", 1280, 1024, 0)];
        let section = tell(&Device { name: "x".into(), element: "v4l2src".into(), path, modes }, 3);
        assert!(
            section.ends_with(
                "parameters = { device = \"/dev/video7\", format = \"GRAY8\" }\nformat = \"GRAY8\""
            ),
            "{section}"
        );
    }
}
