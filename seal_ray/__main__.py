from seal_ray.cli import main

main()
