"""What people look at: pages, pictures and lines on a screen."""
