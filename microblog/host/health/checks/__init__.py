"""What the doctor looks at: a module for each who would suffer, a function for each kind of trouble."""
