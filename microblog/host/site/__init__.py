"""What makes a site of the machine: settings, web server, certificate, program. Reaches machine."""
